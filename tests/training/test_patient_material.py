"""What a cohort of patients becomes before anything is trained: images, covariates, parts."""

from dataclasses import replace

import numpy as np
import pytest

from tests.training.made_patients import patient, write_patients
from training.assembling import Definition, assemble
from training.clinical import NoCovariates, clinical_model
from training.material import Resources
from training.measured import MEASURED
from training.outcomes import CohortUnusable
from training.partition import Part, SplitPlan
from training.patient_material import Patients, patient_material
from training.patients import load, write
from training.progress import Track
from training.recipe import RecipeUnusable, Unlocated

COUNT = 24
"""Eight of each class, four of them of the external centre; thirds of the others are the parts."""
PLAN = SplitPlan(seed=1, training=0.34, validation=0.33, test=0.33, external_centres=("abroad",))
QUIET = Track(quiet=True)


@pytest.fixture(scope="module")
def made():
    """Patients by name: SUV 4 to 15.5, radius 12 mm."""
    return {f"P-{n:02d}": patient(n, suv=4.0 + n / 2) for n in range(COUNT)}


@pytest.fixture
def cohort_of(tmp_path, made):
    """Write a cohort, some patients without any uptake or contour; it may be written again."""

    def build(*, cold=(), name="cohort"):
        folder = tmp_path / name
        for one in cold:
            made_cold = patient(int(one[2:]), suv=0.5, drawn=False)
            write_patients(folder / "cases", {one: made_cold})
        write_patients(folder / "cases", {k: v for k, v in made.items() if k not in cold})
        lines = ["patient,pn,cn,centre,age_years,smoking,cea,followup_days,event"]
        for n, one in enumerate(made):
            centre = "abroad" if n < 6 else "home"
            age = "" if n == 10 else str(50 + n)
            lines.append(
                f"{one},pN{n % 3},cN0,{centre},{age},{('never', 'former', 'current')[n // 3 % 3]},"
                f"{n / 10},{365.25 * (n + 1)},{n % 2}"
            )
        table = folder / "outcomes.csv"
        table.write_text("\n".join(lines))
        definition = Definition(name="made-up", split=PLAN)
        write(assemble(folder / "cases", [table], definition, QUIET), folder)
        return Patients(cohort=folder, cases=folder / "cases")

    return build


@pytest.fixture
def resources(tmp_path):
    return Resources(folder=tmp_path / "cache")


def changed(recipe, **patients):
    return replace(recipe, patients=replace(recipe.patients, **patients))


def one_of(where, part):
    return load(where.cohort).of(part)[0].patient


def test_every_patient_lies_in_the_part_of_the_cohort(cohort_of, resources, tiny_patient_recipe):
    where = cohort_of()

    ground = patient_material(tiny_patient_recipe, where, resources, QUIET)

    sealed = load(where.cohort)
    assert set(ground.groups) == set(Part)
    for part, group in ground.groups.items():
        assert group.cases == tuple(one.patient for one in sealed.of(part))
        expected = [[one.nodal == "N1", one.nodal == "N2"] for one in sealed.of(part)]
        assert group.cohort.labels[group.indices].tolist() == expected
        assert set(group.cohort.columns["subgroup:centre"]) == {
            "abroad" if part is Part.EXTERNAL else "home"
        }
    assert ground.pool.images.moved.shape[1] == tiny_patient_recipe.augmentation.variants
    assert ground.test.images.moved.shape[1] == 0
    assert ground.test.risks is None


def test_images_and_measures_are_of_the_patient_they_are_named_for(
    cohort_of, resources, tiny_patient_recipe
):
    """SUVmax is the ball's SUV and some noise; the middle of the planes lies in the ball."""
    test = patient_material(tiny_patient_recipe, cohort_of(), resources, QUIET).test

    names = test.covariate_names
    for index, name in enumerate(test.cases):
        number = int(name[2:])
        measured = dict(zip(names, test.covariates[index], strict=True))
        assert np.exp(measured["log_suv_max"]) == pytest.approx(4.0 + number / 2, abs=5)
        assert measured["solid_share"] > 0.8
        assert np.isnan(measured["left"])  # nothing tells the sides of a block
        assert measured["age_years"] == 50 + number
        assert test.columns["time"][index] == repr(number + 1.0)
        assert test.columns["event"][index] == str(number % 2)
    middle = test.images.planes[:, 0, :, 14:18, 14:18].astype(float).mean(axis=(1, 2, 3))
    assert np.corrcoef(middle, [int(name[2:]) for name in test.cases])[0, 1] > 0.8


def test_normalisers_come_from_training_alone(cohort_of, resources, tiny_patient_recipe):
    ground = patient_material(tiny_patient_recipe, cohort_of(), resources, QUIET)

    seen = ground.pool.images.planes[ground.training, 0].astype(np.float64)
    assert ground.inputs.pet.mean == pytest.approx(seen.mean(), abs=1e-5)
    assert ground.inputs.pet.sd == pytest.approx(seen.std(), abs=1e-5)


def test_what_came_out_of_a_case_is_read_again(cohort_of, resources, tiny_patient_recipe):
    where = cohort_of()
    first = patient_material(tiny_patient_recipe, where, resources, QUIET)
    kept = {path: path.stat().st_mtime_ns for path in resources.folder.rglob("*") if path.is_file()}

    again = patient_material(tiny_patient_recipe, where, resources, QUIET)

    assert again.pool_folder == first.pool_folder
    assert {path: path.stat().st_mtime_ns for path in kept} == kept
    assert len(list((resources.folder / "cases").iterdir())) == COUNT


def test_other_rules_are_other_images(cohort_of, resources, tiny_patient_recipe):
    where = cohort_of()
    first = patient_material(tiny_patient_recipe, where, resources, QUIET)
    rules = replace(tiny_patient_recipe.patients.lesion, threshold_fraction=0.5)

    other = patient_material(changed(tiny_patient_recipe, lesion=rules), where, resources, QUIET)

    assert other.pool_folder != first.pool_folder
    place = other.pool.covariate_names.index("log_mtv_ml")
    assert np.all(other.pool.covariates[:, place] <= first.pool.covariates[:, place])


def test_who_has_no_lesion_is_left_out_of_training_and_named(
    cohort_of, resources, tiny_patient_recipe
):
    lost = one_of(cohort_of(), Part.TRAINING)
    recipe = replace(tiny_patient_recipe, tasks=tiny_patient_recipe.tasks[1:])  # N0 and N1 suffice

    ground = patient_material(recipe, cohort_of(cold=[lost], name="cold"), resources, QUIET)

    assert lost not in ground.pool.cases
    assert ground.origin.without_lesion == {
        "training": (lost,),
        "validation": (),
        "test": (),
        "external": (),
    }


def test_who_has_no_lesion_in_the_test_ends_the_run_by_name(
    cohort_of, resources, tiny_patient_recipe
):
    where = cohort_of()
    lost = [one_of(where, Part.TEST), one_of(where, Part.EXTERNAL)]
    cold = cohort_of(cold=lost, name="cold")

    with pytest.raises(CohortUnusable, match=f"test: {lost[0]}; external: {lost[1]}"):
        patient_material(tiny_patient_recipe, cold, resources, QUIET)

    ground = patient_material(
        changed(tiny_patient_recipe, unlocated_in_test=Unlocated.LEAVE_OUT),
        cold,
        resources,
        QUIET,
    )
    assert lost[0] not in ground.test.cases
    assert ground.origin.without_lesion["test"] == (lost[0],)


def test_columns_of_the_tables_join_only_by_name(cohort_of, resources, tiny_patient_recipe):
    where = cohort_of()
    plain = patient_material(tiny_patient_recipe, where, resources, QUIET)
    asked = changed(tiny_patient_recipe, clinical_columns=("cea", "smoking"))

    found = patient_material(asked, where, resources, QUIET)

    assert plain.pool.covariate_names == ("age_years", "male", *MEASURED)
    added = found.pool.covariate_names[len(plain.pool.covariate_names) :]
    assert added[0] == "cea"
    assert len(added) == 3  # two of three levels: the commonest is what they are held against
    first = dict(zip(found.pool.covariate_names, found.pool.covariates[0], strict=True))
    number = int(found.pool.cases[0][2:])
    level = ("never", "former", "current")[number // 3 % 3]
    assert first["cea"] == number / 10
    assert [first[name] for name in added[1:]] == [name == f"smoking={level}" for name in added[1:]]


@pytest.mark.parametrize(
    ("change", "error", "told"),
    [
        ({"clinical_columns": ("ceaa",)}, RecipeUnusable, "no patient of training has a 'ceaa'"),
        ({"split_digest": "sha256:0"}, CohortUnusable, "its split is sha256"),
    ],
)
def test_a_recipe_that_is_not_for_this_cohort_is_refused(
    cohort_of, resources, tiny_patient_recipe, change, error, told
):
    with pytest.raises(error, match=told):
        patient_material(changed(tiny_patient_recipe, **change), cohort_of(), resources, QUIET)


def test_a_recipe_of_phantoms_takes_no_patients(cohort_of, resources, tiny_recipe):
    with pytest.raises(RecipeUnusable, match="draws phantoms and is not for patients"):
        patient_material(tiny_recipe, cohort_of(), resources, QUIET)


def test_a_task_that_pathology_does_not_answer_is_refused(
    cohort_of, resources, tiny_patient_recipe
):
    other = replace(tiny_patient_recipe.tasks[0], name="recurrence")
    with pytest.raises(RecipeUnusable, match="a cohort has no labels of 'recurrence'"):
        patient_material(
            replace(tiny_patient_recipe, tasks=(other,)), cohort_of(), resources, QUIET
        )


def test_a_case_that_was_changed_or_is_gone_is_refused(cohort_of, resources, tiny_patient_recipe):
    where = cohort_of()
    (where.cases / "P-07" / "case.json").write_text("{}")
    with pytest.raises(CohortUnusable, match="P-07: the case was changed"):
        patient_material(tiny_patient_recipe, where, resources, QUIET)

    (where.cases / "P-07").rename(where.cases / "elsewhere")
    with pytest.raises(CohortUnusable, match="P-07: the case of a member of the cohort is not"):
        patient_material(tiny_patient_recipe, where, resources, QUIET)


def test_a_damaged_cache_names_the_file(cohort_of, resources, tiny_patient_recipe):
    where = cohort_of()
    patient_material(tiny_patient_recipe, where, resources, QUIET)
    kept = min((resources.folder / "cases").iterdir())
    kept.write_bytes(kept.read_bytes()[:100])

    with pytest.raises(CohortUnusable, match=f"{kept.name} is damaged, delete it"):
        patient_material(tiny_patient_recipe, where, resources, QUIET)


def test_what_is_not_known_is_taken_to_be_the_median_of_training():
    """The median of the second column is 3: whoever lacks it is told like one who has 3."""
    rng = np.random.default_rng(1)
    known = np.column_stack([rng.normal(size=200), rng.integers(1, 6, 200), np.full(200, np.nan)])
    known[0, 1] = 3
    labels = known[:, 0] + known[:, 1] + rng.logistic(size=200) > 3
    known[1:20:2, 1] = np.nan
    median = np.nanmedian(known[:, 1])

    model = clinical_model(known, labels, names=("a", "b", "never"))

    unseen = np.array([[0.5, np.nan, np.nan], [0.5, median, 7.0]])
    lacking, having = model(unseen)
    assert lacking == having


def test_covariates_that_do_not_differ_are_no_model():
    with pytest.raises(NoCovariates, match="each of a, b has one value or none"):
        clinical_model(np.array([[1.0, np.nan]] * 6), np.arange(6) % 2 == 0, names=("a", "b"))
