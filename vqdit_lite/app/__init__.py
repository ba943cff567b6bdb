"""What people use without reading the rest: the assistant and its panel, learning from a folder, the doctor."""
