// JNI over ExecuTorch's C++ libraries of the Python wheel, for tests on a computer alone.
#include <jni.h>

#include <executorch/extension/module/module.h>
#include <executorch/extension/tensor/tensor.h>

#include <memory>
#include <stdexcept>
#include <string>
#include <vector>

// The wheel ships the thread pool without its header; this is all of it that is used.
namespace executorch::extension::threadpool {
class ThreadPool {
 public:
    bool _unsafe_reset_threadpool(uint32_t threads);
};
ThreadPool* get_threadpool();
}  // namespace executorch::extension::threadpool

namespace {

using executorch::extension::Module;
using executorch::runtime::Error;

void check(Error error, const char* what) {
    if (error != Error::Ok) throw std::runtime_error(std::string(what) + ": ExecuTorch's error " + std::to_string(static_cast<int>(error)));
}

std::string text(JNIEnv* env, jstring value) {
    const char* chars = env->GetStringUTFChars(value, nullptr);
    std::string copy(chars);
    env->ReleaseStringUTFChars(value, chars);
    return copy;
}

template <typename Work>
auto guarded(JNIEnv* env, Work work) -> decltype(work()) {
    try {
        return work();
    } catch (const std::exception& error) {
        env->ThrowNew(env->FindClass("java/lang/IllegalStateException"), error.what());
        return {};
    }
}

}  // namespace

extern "C" {

JNIEXPORT jlong JNICALL Java_org_pytorch_executorch_Wheel_open(JNIEnv* env, jobject, jstring model, jint threads) {
    return guarded(env, [&]() -> jlong {
        const std::string path = text(env, model);
        if (auto* pool = executorch::extension::threadpool::get_threadpool()) {
            pool->_unsafe_reset_threadpool(static_cast<uint32_t>(threads));
        }
        auto module = std::make_unique<Module>(path, Module::LoadMode::File);
        check(module->load(), "loading the program");
        return reinterpret_cast<jlong>(module.release());
    });
}

JNIEXPORT void JNICALL Java_org_pytorch_executorch_Wheel_load(JNIEnv* env, jobject, jlong session, jstring method) {
    guarded(env, [&]() -> int {
        check(reinterpret_cast<Module*>(session)->load_method(text(env, method)), "loading a method");
        return 0;
    });
}

// Inputs and outputs are float32 in the program's own order and shapes.
JNIEXPORT jobjectArray JNICALL Java_org_pytorch_executorch_Wheel_run(
    JNIEnv* env, jobject, jlong session, jstring method, jobjectArray inputs) {
    return guarded(env, [&]() -> jobjectArray {
        auto* module = reinterpret_cast<Module*>(session);
        const std::string name = text(env, method);
        const auto meta = module->method_meta(name);
        check(meta.error(), "reading a method");
        const auto count = static_cast<size_t>(env->GetArrayLength(inputs));
        if (meta->num_inputs() != count) throw std::runtime_error("it takes " + std::to_string(meta->num_inputs()) + " inputs");
        std::vector<std::vector<float>> data(count);
        std::vector<executorch::extension::TensorPtr> tensors;
        std::vector<executorch::runtime::EValue> values;
        for (size_t n = 0; n < count; n++) {
            auto array = static_cast<jfloatArray>(env->GetObjectArrayElement(inputs, static_cast<jsize>(n)));
            data[n].resize(static_cast<size_t>(env->GetArrayLength(array)));
            env->GetFloatArrayRegion(array, 0, static_cast<jsize>(data[n].size()), data[n].data());
            env->DeleteLocalRef(array);
            const auto about = meta->input_tensor_meta(n);
            check(about.error(), "reading an input's shape");
            if (about->scalar_type() != executorch::aten::ScalarType::Float || about->nbytes() != data[n].size() * sizeof(float)) {
                throw std::runtime_error("input " + std::to_string(n) + " is not of the program's size or type");
            }
            std::vector<executorch::aten::SizesType> sizes(about->sizes().begin(), about->sizes().end());
            tensors.push_back(executorch::extension::from_blob(data[n].data(), sizes));
            values.emplace_back(*tensors.back());
        }
        const auto outputs = module->execute(name, values);
        check(outputs.error(), "running");
        auto found = env->NewObjectArray(static_cast<jsize>(outputs->size()), env->FindClass("[F"), nullptr);
        for (size_t n = 0; n < outputs->size(); n++) {
            const auto tensor = outputs->at(n).toTensor();
            const auto size = static_cast<jsize>(tensor.numel());
            jfloatArray array = env->NewFloatArray(size);
            env->SetFloatArrayRegion(array, 0, size, tensor.const_data_ptr<float>());
            env->SetObjectArrayElement(found, static_cast<jsize>(n), array);
            env->DeleteLocalRef(array);
        }
        return found;
    });
}

JNIEXPORT void JNICALL Java_org_pytorch_executorch_Wheel_close(JNIEnv*, jobject, jlong session) {
    delete reinterpret_cast<Module*>(session);
}

}  // extern "C"
