PATH_STEP_M = 0.25
lane_path = random_route = None
