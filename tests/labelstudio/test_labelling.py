"""Which controls of a label config get marks, under which labels, from which threshold on."""

import itertools

import pytest

from backend.errors import LabelConfigError, RequestError
from backend.labelstudio.labelling import Binding, bind, namings, versioned
from backend.labelstudio.tasks import task_pages
from backend.vision.network_config import MARKS
from tests.labelstudio.written_configs import IMAGE, LABELS, config


def test_a_plain_config_binds_control_image_field_and_all_three_labels():
    assert bind(config(), confidence=0.6) == (
        Binding(
            control="label",
            image="image",
            field="image",
            paged=False,
            labels={"signature": "signature", "stamp": "stamp", "thumb": "thumb"},
            threshold=0.6,
            meanings={"signature": ("signature",), "stamp": ("stamp",), "thumb": ("thumb",)},
        ),
    )


@pytest.mark.parametrize(
    ("labels", "bound"),
    [
        # letter case and spaces do not count, and the project's own spelling comes back
        ('<Label value="Signature"/><Label value=" STAMP "/>', {"signature": "Signature", "stamp": " STAMP "}),
        # a renamed label says what it stands for
        ('<Label value="Seal" predicted_values="stamp"/>', {"stamp": "Seal"}),
        ('<Label value="ختم" predicted_values="Stamp , seal"/>', {"stamp": "ختم"}),
        # one label may stand for two marks
        ('<Label value="ink" predicted_values="signature,thumb"/>', {"signature": "ink", "thumb": "ink"}),
        # what the label is mapped to wins over its own name
        ('<Label value="stamp" predicted_values="thumb"/>', {"thumb": "stamp"}),
        # an explicit mapping wins over an equal name, wherever it stands
        ('<Label value="stamp"/><Label value="Seal" predicted_values="stamp"/>', {"stamp": "Seal"}),
        # of two equal claims the first wins
        ('<Label value="stamp"/><Label value="Stamp"/>', {"stamp": "stamp"}),
        # unknown predicted values leave the label its own name
        ('<Label value="thumb" predicted_values="finger"/>', {"thumb": "thumb"}),
        # results carry the alias where there is one
        ('<Label value="Stempel" alias="stamp"/>', {"stamp": "stamp"}),
        ('<Label value="stamp" alias="st"/>', {"stamp": "st"}),
        # a common word in English or Arabic needs no mapping, and comes after the mark's own name
        ('<Label value="توقيع"/><Label value="الأختام"/>', {"signature": "توقيع", "stamp": "الأختام"}),
        ('<Label value="Company seal"/><Label value="Stamp"/>', {"stamp": "Stamp"}),
        ('<Label value="Seals" alias="s"/>', {"stamp": "s"}),
        ('<Label value="X" predicted_values="ختم"/>', {"stamp": "X"}),
        # a label may be told to stand for none
        ('<Label value="Seal" predicted_values="none"/><Label value="thumb"/>', {"thumb": "thumb"}),
        # labels of the project that are none of ours stay the annotators'
        ('<Label value="signature"/><Label value="logo"/>', {"signature": "signature"}),
        # labels may be wrapped for layout
        ('<View><Label value="stamp"/></View>', {"stamp": "stamp"}),
    ],
)
def test_labels_are_bound_to_the_marks_they_stand_for(labels, bound):
    assert bind(config(labels))[0].labels == bound


@pytest.mark.parametrize(
    ("attributes", "threshold"),
    [
        ("", 0.5),
        ('model_score_threshold="0.25"', 0.25),
        ('score_threshold="0.3"', 0.3),
        ('model_score_threshold="0.25" score_threshold="0.3"', 0.25),
        ('model_score_threshold="0"', 0.0),
        ('model_score_threshold=""', 0.5),
    ],
)
def test_a_control_can_set_its_own_threshold(attributes, threshold):
    assert bind(config(attributes=attributes), confidence=0.5)[0].threshold == threshold


@pytest.mark.parametrize("text", ["1.5", "-0.1", "50%", "nan", "inf"])
def test_a_threshold_that_is_no_probability_is_named(text):
    with pytest.raises(LabelConfigError, match="model_score_threshold"):
        bind(config(attributes=f'model_score_threshold="{text}"'))


def test_a_list_of_pages_is_recognised():
    [binding] = bind(config(image='<Image name="image" valueList="$pages"/>'))
    assert (binding.field, binding.paged) == ("pages", True)


def test_every_control_with_our_labels_is_bound():
    second = '<RectangleLabels name="second" toName="image"><Label value="stamp"/></RectangleLabels>'
    third = '<RectangleLabels name="third" toName="image"><Label value="logo"/></RectangleLabels>'
    assert [binding.control for binding in bind(config(more=second + third))] == ["label", "second"]


def test_each_mark_is_shown_by_the_first_control_that_has_a_label_for_it():
    second = (
        '<RectangleLabels name="second" toName="image"><Label value="Seal"/><Label value="بصمة"/></RectangleLabels>'
    )
    first, other = bind(config('<Label value="توقيع"/><Label value="ختم"/>', more=second))
    assert first.shown == {"signature": "توقيع", "stamp": "ختم"}
    assert other.shown == {"thumb": "بصمة"}
    assert other.labels == {"stamp": "Seal", "thumb": "بصمة"}, "what annotators draw with it has its meaning"


def test_the_version_knows_which_control_shows_a_mark():
    tag = '<RectangleLabels name="{}" toName="image"><Label value="stamp"/></RectangleLabels>'
    one, other = (f"<View>{IMAGE}{tag.format(a)}{tag.format(b)}</View>" for a, b in (("a", "b"), ("b", "a")))
    assert versioned("v1", bind(one), confidence=0.5) != versioned("v1", bind(other), confidence=0.5)


def test_a_control_of_two_images_is_bound_to_both():
    images = '<Image name="front" value="$a"/><Image name="back" value="$b"/>'
    text = f'<View>{images}<RectangleLabels name="label" toName="front, back">{LABELS}</RectangleLabels></View>'
    assert [(binding.image, binding.field) for binding in bind(text)] == [("front", "a"), ("back", "b")]


def test_a_control_that_says_model_skip_is_left_alone():
    second = '<RectangleLabels name="second" toName="image" model_skip="True"><Label value="stamp"/></RectangleLabels>'
    assert [binding.control for binding in bind(config(more=second))] == ["label"]


TWO_IMAGES = '<Image name="front" value="$a"/><Image name="back" value="$b"/>'


@pytest.mark.parametrize(
    "text",
    [
        # a byte order mark, a declaration, a document type's absence
        "\ufeff" + config(),
        '<?xml version="1.0" encoding="utf-16"?>' + config(),
        # comments and character data of people who style their pages
        config(image=f"<!-- the page --><Style><![CDATA[.a > .b {{ color: red }}]]></Style>{IMAGE}"),
        config(f'<!-- <Label value="x"/> -->{LABELS}'),
        # a namespace that an XML editor has put there
        config().replace("<View>", '<View xmlns="http://www.w3.org/1999/xhtml">', 1),
        # letters of any case in tags
        config().replace("RectangleLabels", "rectanglelabels").replace("Image name", "image name"),
        # views in views, some of them shown on a condition alone
        '<View><View style="display: flex"><View><Choices name="kind" toName="image"><Choice value="Lease"/></Choices>'
        '</View><View visibleWhen="choice-selected" whenTagName="kind" whenChoiceValue="Lease">'
        f'<View><RectangleLabels name="label" toName="image">{LABELS}</RectangleLabels></View></View>'
        f"<View>{IMAGE}</View></View></View>",
        # beside controls that say other things
        config(
            more='<KeyPointLabels name="k" toName="image"><Label value="corner"/></KeyPointLabels><Rating name="r" '
            'toName="image"/><Choices name="c" toName="image" perItem="true"><Choice value="blurred"/></Choices>'
            '<TextArea name="t" toName="image" perRegion="true"/><Relations><Relation value="over"/></Relations>'
        ),
        # an Image with all that its toolbar can have
        config(image='<Image name="image" value="$image" zoom="true" rotateControl="true" crossOrigin="anonymous"/>'),
    ],
)
def test_a_config_is_read_however_people_write_it(text):
    [binding] = bind(text)
    assert (binding.control, binding.image, binding.field) == ("label", "image", "image")
    assert binding.labels == {"signature": "signature", "stamp": "stamp", "thumb": "thumb"}


@pytest.mark.parametrize(
    ("label", "shown"),
    [
        ("&#1582;&#1578;&#1605;", "ختم"),
        ("ختم &amp; توقيع الشاهد", None),
        ("خَتْم", "خَتْم"),
        ("\u200fختم\u200f", "\u200fختم\u200f"),
        ("ختم\u00a0الشركة", "ختم\u00a0الشركة"),
    ],
)
def test_an_arabic_label_is_known_by_its_word_however_it_is_written(label, shown):
    [binding] = bind(config(f'<Label value="signature"/><Label value="{label}"/>'))
    assert binding.labels.get("stamp") == shown


def test_aliases_are_what_regions_bear_on_each_of_several_images():
    labels = '<Label value="ختم" alias="seal_1"/><Label value="توقيع" alias="sign_1"/>'
    control = f'<RectangleLabels name="label" toName="front,back">{labels}</RectangleLabels>'
    found = bind(f"<View>{TWO_IMAGES}{control}</View>")
    assert [(one.image, one.labels) for one in found] == [
        (image, {"signature": "sign_1", "stamp": "seal_1"}) for image in ("front", "back")
    ]


def image_with(tags: str) -> str:
    return f"<View>{IMAGE}{tags}</View>"


def test_labels_with_a_rectangle_beside_them_are_bound_to_both():
    [binding] = bind(
        image_with(f'<Labels name="l" toName="image">{LABELS}</Labels><Rectangle name="r" toName="image"/>')
    )
    assert (binding.control, binding.figure, binding.shape, binding.kind) == ("l", "r", "rectangle", "labels")


@pytest.mark.parametrize(
    ("tag", "shape"), [("PolygonLabels", "polygon"), ("BrushLabels", "brush"), ("RectangleLabels", "rectangle")]
)
def test_segmentation_controls_are_bound(tag, shape):
    [binding] = bind(image_with(f'<{tag} name="c" toName="image">{LABELS}</{tag}>'))
    assert (binding.control, binding.shape, binding.kind) == ("c", shape, f"{shape}labels")


@pytest.mark.parametrize(
    ("tags", "controls"),
    [
        # a box says all, so that the other controls are the annotators' own
        (("BrushLabels", "PolygonLabels", "RectangleLabels"), ["c2"]),
        (("BrushLabels", "PolygonLabels"), ["c1"]),
        (("RectangleLabels", "RectangleLabels"), ["c0", "c1"]),
    ],
)
def test_no_mark_is_shown_twice_in_controls_of_different_shapes(tags, controls):
    text = "".join(f'<{tag} name="c{place}" toName="image">{LABELS}</{tag}>' for place, tag in enumerate(tags))
    assert [binding.control for binding in bind(image_with(text))] == controls


@pytest.mark.parametrize(
    ("attributes", "turns"), [("", False), ('canRotate="true"', True), ('canRotate="false"', False)]
)
def test_boxes_may_be_turned_where_the_control_says_so(attributes, turns):
    assert bind(config(attributes=attributes))[0].turns is turns


@pytest.mark.parametrize(
    ("flag", "attribute", "value", "entries", "path"),
    [
        ("{{idx}}", "", "$images[{{idx}}].url", [{"url": "a"}, {"url": "b"}], ("url",)),
        ("{{idx}}", "", "$images[{{idx}}]", ["a", "b"], ()),
        (
            "#",
            'indexFlag="#"',
            "$images[#].page.src",
            [{"page": {"src": "a"}}, {"page": {"src": "b"}}],
            ("page", "src"),
        ),
    ],
)
def test_a_repeater_is_bound_once_and_makes_controls_for_each_page(flag, attribute, value, entries, path):
    [binding] = bind(repeater(flag, attribute, value))
    assert binding.repeat is not None
    assert (binding.field, binding.paged, binding.repeat.path) == ("images", True, path)
    assert binding.pages(["a", "b"]) == entries
    found = task_pages(0, {"id": 1, "data": {"images": entries}}, [binding])
    assert [(task_page.reference, task_page.item) for task_page in found] == [("a", None), ("b", None)]
    names = [(one.control, one.image) for task_page in found for one in task_page.bindings]
    assert names == [("labels_0", "page_0"), ("labels_1", "page_1")]


@pytest.mark.parametrize(
    "data", [{}, {"images": "a"}, {"images": [{"src": "a"}]}, {"images": [1]}, {"images": {"url": "a"}}, None]
)
def test_a_task_that_does_not_fit_its_repeater_says_so(data):
    with pytest.raises(RequestError, match="images"):
        task_pages(0, {"id": 1, "data": data}, bind(repeater("{{idx}}", "", "$images[{{idx}}].url")))


def repeater(flag: str, attribute: str, value: str) -> str:
    control = f'<RectangleLabels name="labels_{flag}" toName="page_{flag}">{LABELS}</RectangleLabels>'
    inside = f'<View><Image name="page_{flag}" value="{value}"/>{control}</View>'
    return f'<View><Repeater on="$images" {attribute}>{inside}</Repeater></View>'


def controls(*thresholds: str) -> tuple[Binding, ...]:
    """A control for each mark, with these thresholds."""
    tag = '<RectangleLabels name="c{}" toName="image" model_score_threshold="{}"><Label value="{}"/></RectangleLabels>'
    tags = (tag.format(place, threshold, MARKS[place]) for place, threshold in enumerate(thresholds))
    return bind(f"<View>{IMAGE}{''.join(tags)}</View>", confidence=0.5)


def version_with(*thresholds: str) -> str:
    """The version, but for the names of controls and labels: those are not the program's own."""
    version, _, names = versioned("v1", controls(*thresholds), confidence=0.5).rpartition("-c")
    assert len(names) == 8
    return version


@pytest.mark.parametrize(
    ("thresholds", "version"),
    [
        # the operator's own, said again, or not said
        (("0.5",), "v1"),
        (("0.50", ""), "v1"),
        # one of the project's own is named, to its last digit
        (("0.6",), "v1-t0.6"),
        (("0.6", ".60"), "v1-t0.6"),
        (("0.123456789",), "v1-t0.123456789"),
        (("1",), "v1-t1.0"),
    ],
)
def test_the_version_names_the_projects_own_threshold(thresholds, version):
    assert version_with(*thresholds) == version


def test_the_version_changes_with_every_threshold_of_every_control():
    different = [
        ("0.6", "0.7", "0.6"),
        ("0.6", "0.7", "0.7"),
        ("0.7", "0.6", "0.6"),
        ("0.6", "0.6", "0.6"),
        ("0.6", "0.7", ""),
        ("0.6", "", "0.7"),
        ("0.6", "0.7"),
        ("0.6", "0.70000001"),
        ("0.7", "0.6"),
        ("", "0.6"),
    ]
    versions = [version_with(*thresholds) for thresholds in different]
    assert len(set(versions)) == len(versions)
    # Label Studio lists the versions of a task with commas between them.
    assert not any("," in version for version in versions)


def test_the_version_stays_when_controls_change_places_or_thresholds_are_written_otherwise():
    versions = {
        versioned("v1", order, confidence=0.5) for order in itertools.permutations(controls("0.6", "0.7", "0.8"))
    }
    [version] = versions
    assert version.rpartition("-c")[0] == version_with(".60", "7e-1", "0.8")


OWN = (
    '<View><Image name="page" value="$image"/><RectangleLabels name="mark" toName="page"><Label value="signature"/>'
    '<Label value="stamp"/><Label value="thumb"/></RectangleLabels></View>'
)


@pytest.mark.parametrize("own", [OWN, OWN.replace('value="$image"', 'valueList="$pages"')])
def test_the_programs_own_label_configs_leave_the_version_as_it_is(own):
    assert versioned("v1", bind(own), confidence=0.5) == "v1"


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ('"stamp"', '"Seal" predicted_values="stamp"'),  # a label is renamed
        ('"stamp"', '"stamp" predicted_values="thumb"'),  # it stands for another mark
        ('<Label value="thumb"/>', ""),  # a class is gone
        ('name="mark"', 'name="box"'),  # the control is renamed
        ('"page"', '"scan"'),  # the image is
        ('"$image"', '"$scan"'),  # the pages are elsewhere in the tasks' data
    ],
)
def test_the_version_changes_with_whatever_a_prediction_is_made_of(old, new):
    """Else Label Studio would take the stored ones for done, which the editor shows without a name or not at all."""
    versions = {versioned("v1", bind(text), confidence=0.5) for text in (OWN, OWN.replace(old, new))}
    assert len(versions) == 2
    assert versioned("v1", bind(OWN.replace(old, new)), confidence=0.5).startswith("v1-c")


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ('<Label value="thumb"/>', '<Label value="thumb" background="red"/><Label value="logo"/>'),
        ('toName="page"', 'toName="page" strokeWidth="3"'),
    ],
)
def test_the_version_stays_where_a_prediction_would(old, new):
    assert versioned("v1", bind(OWN.replace(old, new)), confidence=0.5) == "v1"


@pytest.mark.parametrize(
    ("labels", "attributes"),
    [
        ('<Label value="x"/>' * 2001, ""),
        ('<Label value="x" predicted_values="' + "stamp," * 2000 + '"/>', ""),
    ],
    ids=["labels", "predicted values"],
)
def test_a_config_of_more_names_than_people_use_is_refused_before_they_are_looked_up(labels, attributes):
    for read in (bind, namings):
        with pytest.raises(LabelConfigError, match=r"names 2001 labels and predicted_values: at most 2000"):
            read(config(labels, attributes=attributes))


def test_controls_in_controls_in_controls_are_refused_by_all_who_read_them():
    """Each would be looked through for all that are in it."""
    inside = '<RectangleLabels name="label" toName="image">' * 4000 + LABELS + "</RectangleLabels>" * 4000
    for read in (bind, namings):
        with pytest.raises(LabelConfigError, match=r"4001 RectangleLabels tags: at most 32"):
            read(config(inside))
