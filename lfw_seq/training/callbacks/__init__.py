"""Lightning callbacks: the plateau scheduler, the seeds of an epoch, the history file and the console."""
