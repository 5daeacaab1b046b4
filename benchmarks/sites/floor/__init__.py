"""The floor: what a rotation costs without any framework or package."""
