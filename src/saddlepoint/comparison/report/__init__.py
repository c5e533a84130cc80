"""The report of a comparison: tables, figures, terminal page and HTML."""
