#include "Develop.h"

/// Develops a picture, and leaves what lies before the slider as it was.
kernel void develop(
    texture2d<float, access::read> source [[texture(0)]], texture2d<float, access::write> target [[texture(1)]],
    constant DevelopUniforms& uniforms [[buffer(0)]], constant float* tables [[buffer(1)]],
    device const float* grid [[buffer(2)]], uint2 place [[thread_position_in_grid]]) {
    uint2 size = uint2(target.get_width(), target.get_height());
    if (place.x >= size.x || place.y >= size.y) return;
    // The preview may be smaller than the photo: each of its pixels shows one of the photo's.
    uint x = min(place.x * uniforms.width / size.x, uniforms.width - 1);
    uint y = min(place.y * uniforms.height / size.y, uniforms.height - 1);
    float3 rgb = source.read(uint2(x, y)).rgb;
    bool is_before = float(place.x) < uniforms.before * float(size.x);
    target.write(float4(is_before ? rgb : pc_develop(rgb, x, y, uniforms, tables, grid), 1.0f), place);
}
