"""Learning from graders: answers are drawn, graded, and the better ones made more likely."""
