"""What nbgrader needs to know about this course: read by tools/generate.py, and by nbgrader in a course's folder."""

c = get_config()  # noqa: F821 (nbgrader puts it here)

c.CourseDirectory.course_id = "vqdit_lite"
c.ClearSolutions.code_stub = {
    "python": 'raise NotImplementedError("Nothing is written here yet: replace this line by your answer.")'
}
c.ClearSolutions.text_stub = "*Write your answer here.*"
c.ExecutePreprocessor.timeout = 300  # seconds a cell
