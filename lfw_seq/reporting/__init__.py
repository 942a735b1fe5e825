"""What many runs say together; `lfw_seq.report` is the command."""
