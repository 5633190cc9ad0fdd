"""The crop wall at `/review`: a hundred marks of one class at a glance, and each decision an annotation."""
