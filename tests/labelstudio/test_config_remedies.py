"""What a label config lacks is named, with a way out that Label Studio's dialog shows unchanged."""

import pytest

from backend.errors import LabelConfigError
from backend.labelstudio.labelling import bind
from tests.labelstudio.written_configs import IMAGE, LABELS, config


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        # no XML
        ("", "not well-formed"),
        ("<View>", "not well-formed"),
        ("plain text", "not well-formed"),
        # hostile XML
        ('<!DOCTYPE v [<!ENTITY a "aaaa"><!ENTITY b "&a;&a;&a;">]><View>&b;</View>', "entities"),
        ('<!DOCTYPE v SYSTEM "http://127.0.0.1:1/x.dtd"><View/>', "entities"),
        # nothing to draw on
        ("<View></View>", "no Image tag"),
        ('<View><Text name="t" value="$t"/></View>', "no Image tag"),
        # an image that no task fills
        (config(image='<Image name="image" value="http://localhost/fixed.png"/>'), "no Image tag"),
        (config(image='<Image name="image" value="$pages[{{idx}}]"/>'), "no Image tag"),
        (config(image='<Image value="$image"/>'), "no Image tag"),
        # nothing to draw with
        (f"<View>{IMAGE}</View>", "no RectangleLabels tag"),
        (
            f'<View>{IMAGE}<EllipseLabels name="b" toName="image">{LABELS}</EllipseLabels></View>',
            "no RectangleLabels tag",
        ),
        # labels without anything that draws
        (f'<View>{IMAGE}<Labels name="l" toName="image">{LABELS}</Labels></View>', "no RectangleLabels tag"),
        # a Repeater that goes through another list than its Image does
        (
            '<View><Repeater on="$pages"><Image name="p_{{idx}}" value="$images[{{idx}}]"/></Repeater></View>',
            "no Image tag",
        ),
        (
            f'<View>{IMAGE}<RectangleLabels name="r" toName="x">{LABELS}</RectangleLabels></View>',
            "no RectangleLabels tag",
        ),
        # all of it switched off
        (config(attributes='model_skip="true"'), "model_skip"),
        # far more controls than a person could use
        (
            config(more=f'<RectangleLabels name="r" toName="image">{LABELS}</RectangleLabels>' * 40),
            "41 RectangleLabels",
        ),
        # other people's labels
        (config('<Label value="cat"/><Label value="dog"/>'), "found: cat, dog"),
        (config(""), "found: none"),
    ],
)
def test_a_config_without_a_place_for_marks_says_what_is_missing(text, reason):
    with pytest.raises(LabelConfigError, match=reason):
        bind(text)


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        # an address around the field
        (
            config(image='<Image name="image" value="https://host/$path"/>'),
            'its Image has value="https://host/\\$path"',
        ),
        (config(image='<Image name="image" value="صفحة"/>'), "its Image has another value"),
        (config(image='<Image name="image"/>'), "its Image has no value"),
        (config(image='<Image value="$image"/>'), "its Image has no name"),
        # a PDF in its own tag
        ('<View><Pdf name="pdf" value="$pdf"/></View>', "no box can be put on its Pdf tag; the command import makes"),
        # labels without anything that draws
        (
            f'<View>{IMAGE}<Labels name="label" toName="image">{LABELS}</Labels></View>',
            'add a Rectangle tag with name="mark" and toName="image"',
        ),
        # drawn with what no mark can be put into; the new control needs a name of its own
        (
            f'<View>{IMAGE}<EllipseLabels name="label" toName="image">{LABELS}</EllipseLabels></View>',
            'cannot be put into EllipseLabels: add a RectangleLabels tag with name="mark" and toName="image"',
        ),
        (
            f'<View>{IMAGE}<KeyPointLabels name="k" toName="image">{LABELS}</KeyPointLabels></View>',
            'cannot be put into KeyPointLabels: add a RectangleLabels tag with name="label"',
        ),
        # labels out of the task's data
        (
            config("", attributes='value="$labels"'),
            r'control "label" takes its labels from the tasks \(value="\$labels"',
        ),
        # an entity that XML does not have
        (config('<Label value="stamp&nbsp;"/>'), "undefined entity.*write &amp; for a lone &"),
        ("<View><Image></View>", "mismatched tag.*close every tag there"),
    ],
)
def test_the_way_out_names_what_is_there_in_its_place(text, reason):
    with pytest.raises(LabelConfigError, match=reason) as refused:
        bind(text)
    message = str(refused.value)
    assert message.isascii()
    assert "<" not in message
    assert len(message) <= 300


def test_the_way_out_is_said_in_what_label_studios_dialog_shows():
    # It takes away whatever looks like a tag, shows letters beyond ASCII as question marks, and 300 letters at most.
    many = "".join(f'<Label value="another label {place}"/>' for place in range(30))
    for text in (
        config('<Label value="عقد"/><Label value="&lt;b&gt;"/><Label value="Siegel"/>' + many),
        config(attributes='model_score_threshold="٫٥"'),
        "<View></View>",
        '<View><Image name="صفحة" value="$image"/></View>',
        config(attributes='model_skip="1"'),
        "<View>",
    ):
        with pytest.raises(LabelConfigError) as refused:
            bind(text)
        message = str(refused.value)
        assert message.isascii()
        assert "<" not in message
        assert len(message) <= 300


def test_the_way_out_names_the_labels_that_are_there():
    with pytest.raises(LabelConfigError, match=r"found: number 1, Siegel.*predicted_values=\"stamp\""):
        bind(config('<Label value="عقد"/><Label value="Siegel"/>'))
