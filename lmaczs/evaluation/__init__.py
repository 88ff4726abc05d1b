"""Judging the classifier and the explainers over many recordings; numbers are measured on what is heard."""
