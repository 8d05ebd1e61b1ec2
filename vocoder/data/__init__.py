"""From recordings to training segments: preprocessing, the store on disk, its index, aligned batches."""
