"""Evaluation of fields, encoders and baselines on posed scenes.

`options` says what is measured, `protocol` which frames and words, `references` builds a scene
once for all methods, `views_2d`, `points_3d` and `novel_view` are the three tasks, `scene_job` runs
them for one scene, `report` puts scenes together, `tables` and `figures` show them as the paper
does.
"""
