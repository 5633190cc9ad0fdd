"""How good a model is on pages whose marks are known, how sure that is, and whether it may take the place of another.

truth (COCO) ─► study (what the pipeline shows, matched) ─► counts by document ─► rates, calibration, ranking
                                                                        │ bootstrap: an interval for each figure
                                            report (table, JSON, HTML) ◄┴► gate (a challenger beside the champion)
"""
