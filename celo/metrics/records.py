"""The metrics of this package; imports nothing but records."""

from __future__ import annotations

from celo.records import Hyperparameter, Metric

_CELO = "Moudgil et al., Celo: Training Versatile Learned Optimizers on a Compute Diet (2025)"

METRICS: tuple[Metric, ...] = (
    Metric(
        name="final_loss",
        summary="final loss of the tuned reference over one's own; 1 is the reference",
        compute="celo.evaluation.scores:final_loss_of",
        citation=_CELO,
    ),
    Metric(
        name="speedup",
        summary="horizon over the steps until the reference's final loss is met; 0 if it never is",
        compute="celo.evaluation.scores:speedup_of",
        citation=_CELO,
    ),
    Metric(
        name="velo-speedup",
        summary="steps that tuned Adam needs for the same loss (published curves) over one's own",
        compute="celo.metrics.velo:speedup",
        kind="comparison",
        options=(
            Hyperparameter(
                "baselines",
                "str",
                "multiple",
                choices=("multiple", "adam"),
                help="envelope of four tuned baselines, or of Adam alone",
            ),
        ),
        citation="Metz et al., VeLO: Training Versatile Learned Optimizers by Scaling Up (2022)",
    ),
    Metric(
        name="algoperf",
        summary="area under the profile of steps to the reference's final loss; 1 is always first",
        compute="celo.metrics.algoperf:score",
        kind="comparison",
        options=(
            Hyperparameter("r_max", "float", 4.0, low=1.001, help="largest ratio that counts"),
            Hyperparameter("points", "int", 100, low=2, high=100_000, help="of the trapezoid rule"),
        ),
        depends_on_company=True,
        citation="Dahl et al., Benchmarking Neural Network Training Algorithms (2023)",
    ),
    Metric(
        name="rank",
        summary="mean rank by final loss, seed by seed; 1 is always first",
        compute="celo.metrics.ranks:mean_rank",
        kind="comparison",
        better="lower",
        depends_on_company=True,
        citation="Demsar, Statistical Comparisons of Classifiers over Multiple Data Sets (2006)",
    ),
    Metric(
        name="paired",
        summary="against the reference, paired over seeds: IQM difference, tasks won, Holm p-value",
        compute="celo.metrics.paired:against_reference",
        kind="comparison",
        depends_on_company=True,
        citation="Holm, A Simple Sequentially Rejective Multiple Test Procedure (1979)",
    ),
    Metric(
        name="profile",
        summary="performance profiles: which fraction of runs, or of tasks, scores above tau",
        compute="celo.metrics.profiles:profiles",
        kind="comparison",
        options=(
            Hyperparameter("tau_max", "float", 4.0, low=0.001, help="largest threshold"),
            Hyperparameter("points", "int", 81, low=2, high=10_000, help="thresholds from 0"),
            Hyperparameter(
                "of", "str", "both", choices=("both", "final_loss", "speedup"), help="scores"
            ),
        ),
        citation="Agarwal et al., Deep RL at the Edge of the Statistical Precipice (2021)",
    ),
)
"""In the order of `celo metrics list`; the first two are shown unless others are asked for."""
