"""What people read: folds over records, and where they are written."""
