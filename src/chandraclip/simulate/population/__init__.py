"""What sources there are, when they are looked at, and which detections a dataset keeps."""
