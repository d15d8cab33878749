"""What is trained, without Ray: learners, their losses, and the images they see."""
