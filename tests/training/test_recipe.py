import pytest
import yaml

from inference.phantom import SCANNERS
from training.recipe import RecipeUnusable, load


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
