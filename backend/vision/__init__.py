"""A page becomes marks: detection by a network and by colour, classification, and both weighed together.

working_raster ─► finders: network_detector or colour_detector ─► candidates ─► classifier ─► pipeline ─► marks
                              │ box_refiner, a second look               │ engine runs the networks

`pipeline` is the object that the server, the commands and the evaluation share: begin there. A box that an annotator
draws roughly goes through `rough_ink` and `rough_boxes` instead of the finders. `weights` and `network_config` say what
lies in a folder of weights.
"""
