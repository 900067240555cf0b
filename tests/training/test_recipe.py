import pytest
import yaml

from inference.phantom import SCANNERS
from training.recipe import Model, Precision, RecipeUnusable, Schedule, load


def changed(path, tmp_path, change):
    recipe = yaml.safe_load(path.read_text())
    change(recipe)
    copy = tmp_path / "recipe.yaml"
    copy.write_text(yaml.safe_dump(recipe))
    return copy


def test_the_shipped_recipe_loads_and_stays_away_from_the_demos_seeds(shipped_recipe_path):
    recipe = load(shipped_recipe_path)

    assert recipe.cohort.first_seed >= 1_000_000
    assert set(recipe.cohort.scanners) <= set(SCANNERS)
    assert [task.name for task in recipe.tasks] == ["occult_n1", "occult_n2"]


@pytest.mark.parametrize(
    ("change", "told"),
    [
        (lambda r: r["fit"].update(learning_rat=0.1), r"unknown key fit\.learning_rat"),
        (lambda r: r["fit"].pop("momentum"), r"missing key fit\.momentum"),
        (lambda r: r["cohort"].update(test_first_seed=1_000_010), "cohort: test_first_seed lies"),
        (lambda r: r["tasks"][1]["risk"].update(size="big"), r"tasks\[1\]\.risk\.size"),
    ],
)
def test_a_recipe_that_does_not_fit_names_the_key(shipped_recipe_path, tmp_path, change, told):
    with pytest.raises(RecipeUnusable, match=told):
        load(changed(shipped_recipe_path, tmp_path, change))


@pytest.mark.parametrize("text", ["- 1", "a: [", ""])
def test_a_file_that_is_no_recipe_is_refused(tmp_path, text):
    path = tmp_path / "recipe.yaml"
    path.write_text(text)

    with pytest.raises(RecipeUnusable, match=r"recipe\.yaml"):
        load(path)


def test_a_missing_file_is_refused(tmp_path):
    with pytest.raises(RecipeUnusable, match="nowhere"):
        load(tmp_path / "nowhere.yaml")


def test_the_published_recipe_is_that_of_the_paper(shipped_recipe_path):
    recipe = load(shipped_recipe_path.with_name("dlnms-published.yaml"))

    assert recipe.network.widths == (64, 128, 256, 512)
    assert recipe.fit.schedule is Schedule.STEP
    assert recipe.rivals == (Model.PET, Model.CT, Model.EARLY, Model.LATE)
    assert recipe.clinical_p_max == 0.1


def test_a_recipe_without_the_newer_keys_asks_for_what_it_always_did(shipped_recipe_path, tmp_path):
    def without(recipe):
        for key in ("positive_share", "ema_decay"):
            del recipe["fit"][key]
        for task in recipe["tasks"]:
            for key in ("centrality", "age", "male", "sites"):
                del task["risk"][key]

    recipe = load(changed(shipped_recipe_path, tmp_path, without))

    assert recipe.rivals == (Model.PET, Model.CT)
    assert recipe.clinical_p_max is None
    assert recipe.network.pretrained is None
    assert (recipe.fit.schedule, recipe.fit.positive_share) == (Schedule.COSINE, 0.5)
    assert (recipe.fit.ema_decay, recipe.fit.precision) == (0.0, Precision.FLOAT32)
    risk = recipe.tasks[0].risk
    assert (risk.centrality, risk.age, risk.male, risk.sites) == (0.0, 0.0, 0.0, {})


@pytest.mark.parametrize(
    ("change", "told"),
    [
        (lambda r: r.update(rivals=["pet", "pet"]), "rivals must differ"),
        (lambda r: r.update(rivals=["fusion"]), "and from the bundle.s fusion"),
        (lambda r: r.update(rivals=["fusion-4d"]), r"rivals\[0\] must be one of"),
        (lambda r: r["fit"].update(ema_decay=1.0), "ema_decay must be at least 0 and below 1"),
        (lambda r: r["fit"].update(positive_share=0.0), "positive_share must lie between"),
        (lambda r: r["fit"].update(step_epochs=0), "step_epochs must be positive"),
        (lambda r: r["network"].update(pretrained={"share_min": 0.0}), "share_min must lie above"),
    ],
)
def test_a_newer_key_that_makes_no_sense_is_named(shipped_recipe_path, tmp_path, change, told):
    with pytest.raises(RecipeUnusable, match=told):
        load(changed(shipped_recipe_path, tmp_path, change))
