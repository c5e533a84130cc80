"""Arms of runs over seeds: statistics, what is compared, tables, figures and the report."""
