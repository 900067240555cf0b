"""How the numbers of a report came about, in words, with the papers that they are from."""

from importlib.metadata import version

from training.reporting.answers import Run
from training.reporting.judged import Asked
from training.reporting.page import Paragraph, Section, Tabular
from training.reporting.words import listed, percent
from training.statistics.values import CONFIDENCE

LIBRARIES = (
    "torch",
    "monai",
    "onnxruntime",
    "numpy",
    "scipy",
    "scikit-learn",
    "statsmodels",
    "lifelines",
    "matplotlib",
)
REFERENCES = (
    ("AUROC and its differences", "DeLong et al. Biometrics 1988;44:837-845"),
    ("its interval", "Pauly et al. Stat Methods Med Res 2016;25:2319-2334"),
    ("AUROC where a patient has several cases", "Obuchowski. Biometrics 1997;53:567-578"),
    ("intervals by bootstrap (BCa)", "Efron. J Am Stat Assoc 1987;82:171-185"),
    ("exact intervals of rates", "Clopper, Pearson. Biometrika 1934;26:404-413"),
    ("adjusted p", "Benjamini, Hochberg. J R Stat Soc B 1995;57:289-300"),
    ("calibration", "Van Calster et al. BMC Med 2019;17:230"),
    ("Brier score", "Brier. Mon Weather Rev 1950;78:1-3"),
    ("net benefit", "Vickers, Elkin. Med Decis Making 2006;26:565-574"),
    ("NRI and IDI", "Pencina et al. Stat Med 2008;27:157-172 and 2011;30:11-21"),
    ("what NRI can hide", "Kerr et al. Epidemiology 2014;25:114-121"),
    ("conformal sets", "Angelopoulos, Bates. Found Trends Mach Learn 2023;16:494-591"),
    ("survival", "Kaplan, Meier. JASA 1958;53:457-481; Cox. JRSS B 1972;34:187-220"),
    ("saliency (HiResCAM)", "Draelos, Carin. arXiv:2011.08891"),
    ("the networks (DLNMS)", "Nat Commun 2023;14:7513"),
)


def methods(run: Run, asked: Asked) -> Section:
    """Tell what was computed, how, and what it rests on."""
    return Section(
        anchor="methods",
        title="Methods",
        parts=(
            Section(
                anchor="methods-model",
                title="Networks and training",
                blocks=(Paragraph(text=_networks(run)), Paragraph(text=_apart(run))),
            ),
            Section(
                anchor="methods-statistics",
                title="Statistics",
                blocks=(Paragraph(text=_statistics(asked)), Paragraph(text=_served()), _papers()),
            ),
            Section(
                anchor="limitations",
                title="Limitations",
                blocks=tuple(Paragraph(text=told) for told in _limitations(run)),
            ),
            Section(
                anchor="software",
                title="Software",
                blocks=(Paragraph(text=_software()),),
            ),
        ),
    )


def _networks(run: Run) -> str:
    if not run.own:
        return (
            f"{run.bundle.card.architecture}. The bundle was taken as it is: its networks, "
            "calibration and cut-offs came from other patients or from phantoms, see the model "
            "card, and each case was read, judged and answered by the code that serves."
        )
    return (
        f"{run.bundle.card.architecture}. The recipe {run.answers.recipe} "
        f"{run.answers.version} holds every number that decides the weights, seed "
        f"{run.answers.seed} included; the epoch with the best AUROC in validation is kept, and "
        "the same recipe gives the same weights. docs/training.md tells each step."
    )


def _apart(run: Run) -> str:
    if not run.own:
        return f"Nothing was chosen by what these patients say. {run.answers.unseen}".strip()
    return (
        "Each task has networks of its own. A patient lies in one part alone, the same for all "
        "tasks. Cut-offs are the greatest Youden index in training; calibration and sets of "
        "answers come from validation; nothing is chosen by what the test part or an external one "
        "says."
    )


def _statistics(asked: Asked) -> str:
    drawn = asked.resampling
    return (
        f"All intervals are {percent(CONFIDENCE)}. The bootstrap draws whole patients within "
        f"classes, {drawn.replicates} times, from seed {drawn.seed}. Tests are two-sided; p are "
        "adjusted within each table, not over tables. docs/training.md shows how often each kind "
        "of interval holds the truth."
    )


def _served() -> str:
    return (
        "Fusion is judged as the node serves it: by the calibration and the cut-off of the card. "
        "Every other model is calibrated in the way that cross-validation on validation prefers, "
        "the simplest within one standard error of the best."
    )


def _papers() -> Tabular:
    return Tabular(
        caption="Where the methods are from.", heads=("what", "paper"), rows=REFERENCES, words=True
    )


def _limitations(run: Run) -> tuple[str, ...]:
    if run.on_phantoms:
        first = (
            "The cases are phantoms and their labels follow a formula. Numbers show that the chain "
            "from images to probability works; none may be expected in patients."
        )
    else:
        first = (
            "Intervals speak of other patients of the same kind, from the same scanners and under "
            "the same care; prevalence elsewhere shifts predictive values and calibration."
        )
    planes = (
        "The networks see planes through one lesion, so that whatever lies elsewhere, the nodes "
        "themselves included, plays no part."
    )
    saliency = (
        "Saliency tells where a network looked, not why, and may look convincing where the answer "
        "is wrong."
    )
    return first, planes, saliency


def _software() -> str:
    told = listed([f"{name} {version(name)}" for name in ("petct-node", *LIBRARIES)])
    return (
        f"This page was made with {told}. Networks run anywhere that ONNX does; parity of engines "
        "is in the card. The source is open, its licence Apache 2.0."
    )
