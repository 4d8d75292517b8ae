"""The tiny suites: right replies score all, none score nothing, and ids are what resuming needs."""

from io import BytesIO

import pytest
from PIL import Image

from chiasm import InvalidArgument
from evals.scoring import aggregate
from evals.suite import Item, Reply, Suite
from evals.suites import TINY, build, described
from models.world import held_out


@pytest.fixture(params=TINY, scope="module")
def suite(request: pytest.FixtureRequest) -> Suite:
    return build(request.param)


def right(item: Item) -> list[Reply]:
    return [Reply(text=(*item.answers, "")[0], detections=item.boxes, ranking=item.answers) for _ in item.prompts]


def test_ids_are_unique_and_the_same_in_every_run(suite: Suite) -> None:
    ids = [item.id for item in suite.items]
    assert len(set(ids)) == len(ids) > 100
    assert ids == [item.id for item in build(suite.name).items]


def test_right_replies_reach_every_target_and_none_at_all_miss_it(suite: Suite) -> None:
    groups = [item.group or item.id for item in suite.items]
    for replies, ok in ((right, True), (lambda item: [], False)):
        scores = [suite.score(item, replies(item)) for item in suite.items]
        for measure in suite.measures:
            measured = aggregate(measure, scores, groups)
            if measured and measured.figure:
                assert measured.figure.ok is ok, measured


def test_a_picture_is_drawn_when_it_is_asked_for(suite: Suite) -> None:
    with Image.open(BytesIO(suite.items[7].pictures[0]())) as picture:
        assert (picture.format, picture.mode, picture.size) == ("PNG", "RGB", (256, 256))


def test_expected_boxes_are_in_pixels_of_the_picture_sent() -> None:
    """The first thing of the first scene is where its picture has its colour."""
    suite, scene = build("tiny-detection"), held_out.scenes(1)[0]
    item = suite.items[0]
    (box,) = {one.box for one in item.boxes[:1]}
    thing = next(thing for thing in scene.things if thing.shape == item.boxes[0].label)
    assert (box.x_min / 256, box.y_max / 256) == (thing.box[0], thing.box[3])
    with Image.open(BytesIO(item.pictures[0]())) as picture:
        changed = [
            (x, y)
            for x in range(int(box.x_min), int(box.x_max))
            for y in range(int(box.y_min), int(box.y_max))
            if picture.getpixel((x, y)) != scene.ground
        ]
    assert min(x for x, _ in changed) - box.x_min < 2
    assert box.y_max - max(y for _, y in changed) < 3


def test_half_of_popes_things_are_there() -> None:
    answers = [item.answers for item in build("tiny-pope").items]
    assert answers.count(("yes",)) == answers.count(("no",)) == 200


def test_every_suite_says_what_it_is_about() -> None:
    names = [name for name, _, _ in described()]
    assert len(names) == len(set(names)) == 19
    assert all(about.endswith(".") for _, about, _ in described())


def test_an_unknown_suite_and_a_missing_folder_are_refused() -> None:
    with pytest.raises(InvalidArgument, match="no suite is called nope: tiny-answers"):
        build("nope")
    with pytest.raises(InvalidArgument, match=r"pope needs --data, a folder with coco_pope_random\.json"):
        build("pope")
