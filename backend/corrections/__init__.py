"""What annotators made of the shown marks: a durable journal of events, turned into samples exactly once."""
