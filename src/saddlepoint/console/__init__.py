"""What a command prints: results, notes, tables that live, meters; streams that may be closed."""
