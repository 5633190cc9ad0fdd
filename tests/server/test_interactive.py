"""A box that an annotator draws roughly comes back tightened, under its id and its label."""

import pytest

from backend.errors import PageUnavailable
from tests.server.conftest import found, payload

IMAGE = "/data/upload/2/062571dc-page.jpg"


class TestInteractive:
    def test_the_rough_box_comes_back_tightened_labelled_and_under_its_id(self, client, pipeline):
        [prediction] = client.post("/predict", json=payload("predict_interactive")).json["results"]
        [region] = prediction["result"]
        assert region["id"] == "x"
        assert region["value"] | {"rotation": 0} == {
            "x": 10.0, "y": 20.0, "width": 20.0, "height": 20.0, "rotation": 0, "rectanglelabels": ["stamp"],
        }  # fmt: skip
        assert pipeline.refined_boxes[0].tolist() == [[2.0, 1.0, 62.0, 31.0]]

    def drawn(self, **changes) -> dict:
        body = payload("predict_interactive")
        body["params"]["context"]["result"][0] |= changes
        return body

    def test_what_was_drawn_and_what_is_there_goes_along(self, client, pipeline):
        body = payload("predict_interactive")
        client.post("/predict", json=body)
        [said] = pipeline.said
        assert said["meant"] == [1], "it was drawn as a stamp"
        # The annotation has one box of 20 by 10 percent, at 10 percent from the top left corner of 200 by 100 pixels.
        assert said["taken"].round().tolist() == [[20, 10, 60, 20]]

    def test_the_label_that_was_drawn_stands_also_where_the_model_thinks_otherwise(self, client, pipeline):
        pipeline.refine_to = found(("signature", (20, 20, 60, 40), 0.9))
        [prediction] = client.post("/predict", json=payload("predict_interactive")).json["results"]
        [region] = prediction["result"]
        assert region["value"]["rectanglelabels"] == ["stamp"]
        assert region["score"] < 0.5

    def test_a_label_of_something_else_stands_as_well(self, client):
        body = self.drawn()
        body["label_config"] = body["label_config"].replace(
            "</RectangleLabels>", '<Label value="logo"/></RectangleLabels>'
        )
        body["params"]["context"]["result"][0]["value"]["rectanglelabels"] = ["logo"]
        [prediction] = client.post("/predict", json=body).json["results"]
        assert prediction["result"][0]["value"]["rectanglelabels"] == ["logo"]

    def test_a_label_that_the_project_lacks_gives_way_to_the_likeliest_it_has(self, client, pipeline):
        body = self.drawn()
        body["label_config"] = body["label_config"].replace('value="stamp"', 'value="logo"')
        pipeline.refine_to = found(("stamp", (20, 20, 60, 40), 0.9))
        pipeline.refine_to.probabilities[0] = [0.01, 0.9, 0.09, 0]
        [prediction] = client.post("/predict", json=body).json["results"]
        assert prediction["result"][0]["value"]["rectanglelabels"] == ["thumb"]

    @pytest.mark.parametrize(
        "value",
        [
            None,
            {},
            {"x": 1, "y": 1},
            {"x": "1", "y": 1, "width": 1, "height": 1},
            {"points": [[1, 1]]},
            # numbers beyond what floats can say, and beyond what they can be multiplied by
            {"x": 10**400, "y": 1, "width": 1, "height": 1},
            {"x": 1, "y": 1, "width": 1, "height": 1e308, "rotation": 45},
            {"x": 1, "y": 1, "width": 1, "height": 1, "rotation": -(10**400)},
        ],
    )
    def test_what_is_no_rectangle_is_refused_with_the_reason(self, client, value):
        response = client.post("/predict", json=self.drawn(value=value))
        assert response.status_code == 400
        assert "no rectangle" in response.json["message"]

    @pytest.mark.parametrize("identity", [2**63, {"a": 1}, ["x"], "", None])
    def test_an_id_that_no_editor_gives_is_replaced(self, client, identity):
        [prediction] = client.post("/predict", json=self.drawn(id=identity)).json["results"]
        assert len(prediction["result"][0]["id"]) == 10

    def test_a_page_that_the_task_lacks_is_refused(self, client):
        assert client.post("/predict", json=self.drawn(item_index=3)).status_code == 400

    def test_a_page_that_cannot_be_had_is_an_error_that_names_it(self, client, pages):
        pages.kept[IMAGE] = PageUnavailable("page.jpg", "no answer")
        response = client.post("/predict", json=payload("predict_interactive"))
        assert (response.status_code, response.json["message"]) == (422, "page.jpg: no answer")
