"""Lightning callbacks: checkpoints, exact resume, metrics.csv, plateau scheduler, console, TensorBoard's views."""
