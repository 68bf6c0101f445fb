"""The open project, what is on show, and what can be done with it. No Qt."""
