"""Label Studio's JSON and its REST API: the wire, and nothing else.

- A label config: `config_tags` (its XML, and what it lacks) ─► `labelling` (which control boxes which mark), by
  `mark_words`.
- A task comes in: `tasks` gives its pages. A prediction goes out: `results` writes its regions; `brush` its masks.
- An event comes in: `protocol` ─► `annotations` (who left which boxes), by `vocabulary` and `json_fields`.
- The REST client: `client`, with `api_access` for the token and `connections` for one client a project.
"""
