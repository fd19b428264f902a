// The tones of an edit for one pixel: what Developer.swift does, in Metal; tests compile it as C++.
#pragma once

#include "Generated/Constants.h"

#ifdef __METAL_VERSION__
#include <metal_stdlib>
using namespace metal;
#define PC_DEVICE device
#define PC_CONSTANT constant
#else
#include "metal_as_cpp.h"
#endif

#define PC_LEVELS 256

/// What holds for every pixel of a picture.
struct DevelopUniforms {
    uint width;
    uint height;
    /// 1 + saturation.
    float chroma;
    /// 0 where there is no grid.
    uint has_grid;
    /// The part of the picture, from the left, that is shown as it was; for the before/after slider.
    float before;
};

inline float pc_luma(float3 rgb) { return PC_LUMA_RED * rgb.x + PC_LUMA_GREEN * rgb.y + PC_LUMA_BLUE * rgb.z; }

/// The place of a pixel among the cells of a side.
inline float pc_coordinate(uint pixel, uint pixels, int cells) {
    float last = float(cells - 1);
    return min((float(pixel) + 0.5f) / float(pixels) * last, last);
}

/// One coefficient of the grid at a place, interpolated trilinearly.
inline float pc_coefficient(PC_DEVICE const float* grid, int coefficient, float bin, float row, float column) {
    int b = min(int(bin), PC_GRID_BINS - 2), r = min(int(row), PC_GRID_ROWS - 2), c = min(int(column), PC_GRID_COLUMNS - 2);
    PC_DEVICE const float* cell = grid + ((coefficient * PC_GRID_BINS + b) * PC_GRID_ROWS + r) * PC_GRID_COLUMNS + c;
    float values[2];
    for (int n = 0; n < 2; n++) {
        PC_DEVICE const float* at = cell + n * PC_GRID_ROWS * PC_GRID_COLUMNS;
        float left = mix(at[0], at[PC_GRID_COLUMNS], row - float(r));
        float right = mix(at[1], at[PC_GRID_COLUMNS + 1], row - float(r));
        values[n] = mix(left, right, column - float(c));
    }
    return mix(values[0], values[1], bin - float(b));
}

/// Develops one pixel.
///
/// - rgb: sRGB-encoded, in [0, 1], of 8 bits.
/// - tables: the curves of R, G and B at all 256 levels, one after the other.
/// - grid: the tone grid, shape (12, 8, 16, 16).
/// Returns sRGB-encoded values in [0, 1].
inline float3 pc_develop(
    float3 rgb, uint x, uint y, PC_CONSTANT const DevelopUniforms& uniforms, PC_CONSTANT const float* tables,
    PC_DEVICE const float* grid) {
    int red = int(rgb.x * 255.0f + 0.5f), green = int(rgb.y * 255.0f + 0.5f), blue = int(rgb.z * 255.0f + 0.5f);
    float3 out = float3(tables[red], tables[PC_LEVELS + green], tables[2 * PC_LEVELS + blue]);
    if (uniforms.chroma != 1.0f) {
        float luma = pc_luma(out);
        out = clamp(float3(luma) + uniforms.chroma * (out - float3(luma)), 0.0f, 1.0f);
    }
    if (uniforms.has_grid != 0) {
        float bin = clamp(pc_luma(out), 0.0f, 1.0f) * float(PC_GRID_BINS - 1);
        float row = pc_coordinate(y, uniforms.height, PC_GRID_ROWS);
        float column = pc_coordinate(x, uniforms.width, PC_GRID_COLUMNS);
        float mixed[3];
        for (int channel = 0; channel < 3; channel++) {
            int first = 4 * channel;
            mixed[channel] = pc_coefficient(grid, first, bin, row, column) * out.x +
                pc_coefficient(grid, first + 1, bin, row, column) * out.y +
                pc_coefficient(grid, first + 2, bin, row, column) * out.z +
                pc_coefficient(grid, first + 3, bin, row, column);
        }
        out = clamp(float3(mixed[0], mixed[1], mixed[2]), 0.0f, 1.0f);
    }
    return out;
}
