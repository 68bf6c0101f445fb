"""unisemalign: teach a computer to segment histology slides, round after round."""
