"""What more photos and more frames would bring: learning curves of the critic."""
