"""The lens from the image: predict, search, test the residuals, Algorithm 1 of the paper."""
