// Develops a picture on the CPU with the Metal shader's own function: `develop IN OUT`, both raw.
#include <cstdio>
#include <vector>

#include "Develop.h"

template <typename T>
static bool read(std::FILE* file, T* values, size_t count) { return std::fread(values, sizeof(T), count, file) == count; }

int main(int count, char** arguments) {
    if (count != 3) return 2;
    std::FILE* in = std::fopen(arguments[1], "rb");
    std::FILE* out = std::fopen(arguments[2], "wb");
    if (in == nullptr || out == nullptr) return 2;
    DevelopUniforms uniforms{};
    std::vector<float> tables(3 * PC_LEVELS), grid(PC_GRID_COEFFICIENTS * PC_GRID_BINS * PC_GRID_ROWS * PC_GRID_COLUMNS);
    if (!read(in, &uniforms, 1) || !read(in, tables.data(), tables.size()) || !read(in, grid.data(), grid.size())) return 2;
    std::vector<unsigned char> rgb(3 * uniforms.width * uniforms.height);
    if (!read(in, rgb.data(), rgb.size())) return 2;
    for (uint y = 0; y < uniforms.height; y++) {
        for (uint x = 0; x < uniforms.width; x++) {
            unsigned char* pixel = &rgb[3 * (y * uniforms.width + x)];
            float3 encoded(pixel[0] / 255.0f, pixel[1] / 255.0f, pixel[2] / 255.0f);
            float3 developed = pc_develop(encoded, x, y, uniforms, tables.data(), grid.data());
            const float values[3] = {developed.x, developed.y, developed.z};
            std::fwrite(values, sizeof(float), 3, out);
        }
    }
    return std::fclose(in) == 0 && std::fclose(out) == 0 ? 0 : 2;
}
