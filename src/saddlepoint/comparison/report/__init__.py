"""What a comparison shows: tables, figures, the console, the HTML report."""
