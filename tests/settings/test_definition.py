"""Every setting is checked by its definition: type, range, choices and emptiness, each refused in one sentence."""

import dataclasses
import importlib
import math
import pkgutil
from dataclasses import dataclass, field
from typing import Annotated, Any, Literal

import pytest

import landmark_dag.settings
from landmark_dag.errors import InputError
from landmark_dag.settings.checks import DataCheckSettings
from landmark_dag.settings.cleaning import CandidateSettings, KeepRule
from landmark_dag.settings.definition import (
    AT_LEAST_1,
    SHARE_BELOW_1,
    Definition,
    Only,
    Range,
    Settings,
    Unit,
    definitions,
    hashed_fields,
)
from landmark_dag.settings.evaluation import BootstrapSettings
from landmark_dag.settings.matching import LocalFeatureSettings, VerificationSettings
from landmark_dag.settings.photos import DownloadSettings, Gldv2Settings
from landmark_dag.settings.profiles import Profile
from landmark_dag.settings.reindex import ReindexSettings
from landmark_dag.settings.reranking import InsertSettings, ReciprocalSettings, SoftSettings
from landmark_dag.settings.retrieval import (
    EmbeddingSettings,
    NeighbourSettings,
    RecognitionSettings,
    VoteSettings,
)
from landmark_dag.settings.training import DistributedSettings, NetworkSettings, TrainingSettings

NAN = math.nan


@dataclass(frozen=True)
class Part(Settings, section="whole.part"):
    size: Annotated[int, "how large", AT_LEAST_1, Unit("pixels")] = 1


@dataclass(frozen=True)
class Whole(Settings, section="whole"):
    count: Annotated[int, "how many", AT_LEAST_1, Only.SPEED] = 3
    share: Annotated[float, "how much", SHARE_BELOW_1] = 0.5
    scales: Annotated[tuple[float, ...], "how large", Range(above=0)] = (1.0,)
    names: Annotated[tuple[str, ...], "which"] = ()
    mode: Annotated[Literal["fast", "exact", "both"], "how"] = "exact"
    sums: Annotated[dict[str, str], "known sums"] = field(default_factory=dict)
    strict: Annotated[bool, "whether"] = False
    title: Annotated[str, "what"] = "a"
    note: Annotated[str, "why"] = ""
    part: Annotated[Part, "a part"] = Part()


def classes() -> list[type[Settings]]:
    """Every class of settings of the package."""
    for module in pkgutil.iter_modules(landmark_dag.settings.__path__, "landmark_dag.settings."):
        importlib.import_module(module.name)
    found = [Settings]
    for kind in found:
        found += kind.__subclasses__()
    return [kind for kind in found[1:] if kind.__module__.startswith("landmark_dag.")]


def numbers() -> list[tuple[type[Settings], Definition]]:
    """Every setting that is a number or a list of numbers."""
    return [
        (kind, definition)
        for kind in classes()
        for definition in definitions(kind).values()
        if {definition.kind, definition.element} & {int, float}
    ]


@pytest.mark.parametrize(
    ("values", "sentence"),
    [
        ({"count": 0}, "whole.count is 0; it must be a whole number of 1 or more."),
        ({"count": True}, "whole.count is true; it must be a whole number of 1 or more."),
        ({"count": 2.0}, "whole.count is 2.0; it must be a whole number of 1 or more."),
        ({"count": "2"}, 'whole.count is "2"; it must be a whole number of 1 or more.'),
        ({"share": NAN}, "whole.share is nan; it must be a number of at least 0 and below 1."),
        ({"share": 1}, "whole.share is 1; it must be a number of at least 0 and below 1."),
        ({"share": -math.inf}, "whole.share is -inf; it must be a number of at least 0 and below 1."),
        ({"share": None}, "whole.share is None; it must be a number of at least 0 and below 1."),
        ({"scales": ()}, "whole.scales is []; it must be a list of at least one entry, each a number above 0."),
        ({"scales": (1.0, 0.0)}, "whole.scales is [1.0, 0.0]; it must be a list of at least one entry, each a"),
        ({"scales": 1.0}, "whole.scales is 1.0; it must be a list of at least one entry, each a number above 0."),
        ({"names": "abc"}, 'whole.names is "abc"; it must be a list, each text.'),
        ({"names": (1,)}, "whole.names is [1]; it must be a list, each text."),
        ({"mode": "sloppy"}, 'whole.mode is "sloppy"; it must be fast, exact or both.'),
        ({"sums": {"a": 1}}, 'whole.sums is {"a" = 1}; it must be a table of texts by name.'),
        ({"strict": 1}, "whole.strict is 1; it must be true or false."),
        ({"title": ""}, 'whole.title is ""; it must be text that is not empty.'),
        ({"part": {}}, "whole.part is {}; it must be a table."),
    ],
)
def test_a_value_that_a_definition_does_not_allow_is_refused_in_one_sentence(
    values: dict[str, Any], sentence: str
) -> None:
    with pytest.raises(InputError) as refused:
        Whole(**values)
    assert str(refused.value).startswith(sentence)


def test_a_whole_number_is_a_number_and_a_list_is_kept_as_a_tuple() -> None:
    made = Whole(share=0, scales=[2, 0.5], names=["b"], sums={"a": "b"})  # type: ignore[arg-type]
    assert (made.share, made.scales, made.names, made.sums) == (0.0, (2.0, 0.5), ("b",), {"a": "b"})
    assert type(made.share) is float and type(made.scales[0]) is float


def test_a_definition_has_all_that_its_annotation_says() -> None:
    size = definitions(Part)["size"]
    assert (size.kind, size.default, size.description, size.unit) == (int, 1, "how large", "pixels")
    assert size.help == "how large, pixels; a whole number of 1 or more"


def test_hashed_fields_leave_out_what_changes_only_speed() -> None:
    assert "count" not in hashed_fields(Whole())
    assert hashed_fields(Whole(count=7)) == hashed_fields(Whole())
    assert hashed_fields(Whole())["part"] == {"size": 1}


@pytest.mark.parametrize(
    ("name", "text", "value"),
    [
        ("count", "12", 12),
        ("count", "1.5", "1.5"),
        ("share", "2", 2.0),
        ("share", "1e-3", 0.001),
        ("share", "much", "much"),
        ("scales", "0.75,1", (0.75, 1.0)),
        ("scales", "[0.75, 1.0]", (0.75, 1.0)),
        ("scales", "", ()),
        ("names", '["a", "b c"]', ("a", "b c")),
        ("mode", "fast", "fast"),
        ("strict", "true", True),
        ("strict", "yes", "yes"),
        ("title", "5", "5"),
        ("sums", '{"a/b.tar" = "1"}', {"a/b.tar": "1"}),
        ("sums", "nonsense", "nonsense"),
    ],
)
def test_text_of_a_command_line_is_read_by_the_type_of_its_setting(name: str, text: str, value: Any) -> None:
    assert definitions(Whole)[name].parsed(text) == value


@pytest.mark.parametrize(
    ("kind", "values", "named"),
    [
        (TrainingSettings, {"epochs": -3}, "training.epochs is -3; it must be a whole number of 0 or more"),
        (TrainingSettings, {"learning_rate": NAN}, "training.learning_rate is nan; it must be a number above 0"),
        (TrainingSettings, {"sub_centers": 0}, "training.sub_centers is 0"),
        (
            TrainingSettings,
            {"class_share": 0.0},
            "training.class_share is 0.0; it must be a number above 0 and at most 1",
        ),
        (TrainingSettings, {"class_share": 1.5}, "training.class_share is 1.5"),
        (TrainingSettings, {"label_smoothing": 1.0}, "training.label_smoothing is 1.0"),
        (TrainingSettings, {"trainable": "projection", "final_epochs": 1}, "set final_epochs to 0"),
        (DistributedSettings, {"hosts": 2}, "2 hosts needs a `rendezvous`"),
        (NetworkSettings, {"dropout": 1.0}, "network.dropout is 1.0"),
        (NetworkSettings, {"backbone": ""}, 'network.backbone is ""'),
        (EmbeddingSettings, {"scales": ()}, "embedding.scales is []"),
        (VoteSettings, {"k": 0}, "votes.k is 0"),
        (NeighbourSettings, {"neighbours": 0}, "neighbours.neighbours is 0"),
        (NeighbourSettings, {"effort": 0}, "neighbours.effort is 0"),
        (RecognitionSettings, {"full_inliers": 0}, "recognition.full_inliers is 0"),
        (RecognitionSettings, {"distractor_queries": -1}, "recognition.distractor_queries is -1"),
        (InsertSettings, {"limit": 0}, "insert.limit is 0"),
        (InsertSettings, {"threshold": NAN}, "insert.threshold is nan; it must be a number."),
        (SoftSettings, {"product_k": 0}, "soft.product_k is 0"),
        (SoftSettings, {"bridge_photos": 0}, "soft.bridge_photos is 0"),
        (SoftSettings, {"bridge_landmarks": 0}, "soft.bridge_landmarks is 0"),
        (ReciprocalSettings, {"k2": 0}, "comparison.reciprocal.k2 is 0"),
        (BootstrapSettings, {"level": 1}, "comparison.bootstrap.level is 1"),
        (BootstrapSettings, {"resamples": 0}, "comparison.bootstrap.resamples is 0"),
        (LocalFeatureSettings, {"long_side": 0}, "local_features.long_side is 0"),
        (LocalFeatureSettings, {"max_keypoints": -1}, "local_features.max_keypoints is -1"),
        (LocalFeatureSettings, {"scales": (0.0,)}, "local_features.scales is [0.0]"),
        (CandidateSettings, {"neighbours": 0}, "candidates.neighbours is 0"),
        (CandidateSettings, {"among_nearest": -2}, "candidates.among_nearest is -2"),
        (VerificationSettings, {"residual": NAN}, "verification.residual is nan"),
        (VerificationSettings, {"hypotheses": 0}, "verification.hypotheses is 0"),
        (VerificationSettings, {"pairs_per_batch": 0}, "verification.pairs_per_batch is 0"),
        (KeepRule, {"min_verified": -1}, "keep_rule.min_verified is -1"),
        (DataCheckSettings, {"run_margin": -1.0}, "checks.run_margin is -1.0; it must be a number from 0 to 100"),
        (Gldv2Settings, {"train_tars_per_shard": 0}, "dataset.train_tars_per_shard is 0"),
        (DownloadSettings, {"timeout_seconds": 0}, "dataset.download.timeout_seconds is 0"),
        (ReindexSettings, {"timezone": "Provence"}, "no time zone 'Provence'; write one such as Europe/Paris"),
        (ReindexSettings, {"cron": "every night"}, "'every night' is no cron line; write one such as '0 3 * * *'"),
        (ReindexSettings, {"cron": "0 24 * * *"}, "'0 24 * * *' is no cron line"),
    ],
)
def test_a_value_that_cannot_work_is_refused_by_name(kind: type[Settings], values: dict[str, Any], named: str) -> None:
    with pytest.raises(InputError) as refused:
        kind(**values)
    assert named in str(refused.value)


@pytest.mark.parametrize("cron", ["0 3 * * *", "*/15 0-6,22 1,15 jan-MAR 7", "30 4 * * mon"])
def test_a_cron_line_is_allowed(cron: str) -> None:
    assert ReindexSettings(cron=cron).cron == cron


@pytest.mark.parametrize(
    ("kind", "definition"), numbers(), ids=lambda value: getattr(value, "name", getattr(value, "__name__", ""))
)
def test_every_number_of_every_class_is_refused_outside_its_range_and_may_be_at_its_bounds(
    kind: type[Settings], definition: Definition
) -> None:
    unbounded = {"insert.threshold", "comparison.traversal.threshold"}
    assert (definition.range is None) == (f"{kind.section}.{definition.name}" in unbounded)
    bounds = definition.range or Range()

    def check(value: float) -> None:
        definition.checked((value,) if definition.element else value, "it")

    step = 1 if int in (definition.kind, definition.element) else 1e-6
    outside = [
        *([] if bounds.at_least is None else [bounds.at_least - step]),
        *([] if bounds.at_most is None else [bounds.at_most + step]),
        *(bound for bound in (bounds.above, bounds.below) if bound is not None),
        math.nan,
        math.inf,
    ]
    for value in outside:
        with pytest.raises(InputError):
            check(value)
    for value in (bounds.at_least, bounds.at_most):
        if value is not None:
            check(value)


@pytest.mark.parametrize("kind", classes(), ids=lambda kind: kind.__name__)
def test_every_setting_is_described_and_its_default_is_allowed(kind: type[Settings]) -> None:
    kind()
    assert kind.section or kind is Profile
    for name, definition in definitions(kind).items():
        nested = isinstance(definition.default, Settings)
        assert definition.description or nested, name
        assert dataclasses.is_dataclass(definition.kind) == nested
