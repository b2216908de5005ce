"""Who is told what happened: the log and the metrics."""
