"""Graders of the exercises, one file a chapter: from vqdit_lite.grade import chapter01 as grade."""
