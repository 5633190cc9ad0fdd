"""Label configs as people write them, put together of parts."""

IMAGE = '<Image name="image" value="$image"/>'
LABELS = '<Label value="signature"/><Label value="stamp"/><Label value="thumb"/>'


def config(labels: str = LABELS, *, attributes: str = "", image: str = IMAGE, more: str = "") -> str:
    control = f'<RectangleLabels name="label" toName="image" {attributes}>{labels}</RectangleLabels>'
    return f"<View>{image}{control}{more}</View>"
