// Written by `python -m pocketcrafter.runtime.vectors`; change the Python source, and run it again.

// Included by Metal and, in tests, by C++.
#pragma once

#define PC_MASKED -256.0f
#define PC_CARRIED_DB 30.0f
#define PC_LETTERBOX 0.5f
#define PC_SURE_OF_TILT 0.7f
#define PC_LEAST_TURN_DEGREES 2.5f
#define PC_CROP_MARGIN 2.0f
#define PC_COST_OF_AREA 2.0f
#define PC_FULL_SEVERITY_DEGREES 8.0f
#define PC_SALIENCE_BLUR_PX 2.0f
#define PC_BACKGROUND_QUANTILE 0.7f
#define PC_EDGE_SHARE 0.04f
#define PC_LEAST_NEARER 0.03f
#define PC_LEAST_FREED 0.01f
#define PC_LUMA_RED 0.2126f
#define PC_LUMA_GREEN 0.7152f
#define PC_LUMA_BLUE 0.0722f
#define PC_LOG2_RED_PER_MIRED 0.0063f
#define PC_LOG2_BLUE_PER_MIRED -0.008f
#define PC_LOG2_GREEN_PER_MIRED -0.0075f
#define PC_SHOULDER_POWER 8.0f
#define PC_AIRLIGHT 0.8f
#define PC_VEIL 0.6f
#define PC_TOE 0.005f
#define PC_REGION_LIFT 0.9450000000000001f
#define PC_TONE_EPS 1e-06f
#define PC_GRID_COEFFICIENTS 12
#define PC_GRID_BINS 8
#define PC_GRID_ROWS 16
#define PC_GRID_COLUMNS 16
