// Times llama.cpp by node-llama-cpp: node time_llama_cpp.mjs MODEL.gguf PROMPT DECODE THREADS
// Prints tokens for each second of processor time, which other work on the machine hardly changes.
import {createRequire} from "node:module";
import {readFileSync} from "node:fs";
import {pathToFileURL} from "node:url";
import path from "node:path";

const [model, prompt, decode, threads] = process.argv.slice(2);
// The package lies where the command runs, not beside this file.
const found = createRequire(path.join(process.cwd(), "package.json")).resolve("node-llama-cpp");
const {getLlama, LlamaLogLevel} = await import(pathToFileURL(found));
const llama = await getLlama({gpu: false, build: "never", logLevel: LlamaLogLevel.error, maxThreads: Number(threads)});
const loaded = await llama.loadModel({modelPath: path.resolve(model)});
const size = {contextSize: 1024, batchSize: Number(prompt), threads: Number(threads)};
const context = await loaded.createContext(size);
const sequence = context.getSequence();

function seconds() {
    const {user, system} = process.cpuUsage();
    return (user + system) / 1e6;
}

async function once(first) {
    await sequence.clearHistory();
    const tokens = Array.from({length: Number(prompt)}, (_, index) => first + 7 * index);
    const begun = seconds();
    await sequence.evaluateWithoutGeneratingNewTokens(tokens);
    const read = seconds();
    let left = Number(decode);
    for await (const _token of sequence.evaluate([500], {temperature: 0, yieldEogToken: true}))
        if (--left === 0) break;
    return {prefill: Number(prompt) / (read - begun), decode: Number(decode) / (seconds() - read)};
}

await once(1000);
const rates = await once(3000);
// resourceUsage counts the program that started this one too.
const [, peak] = /VmHWM:\s*(\d+)/.exec(readFileSync("/proc/self/status", "utf8"));
console.log(JSON.stringify({...rates, peak_mib: Number(peak) / 1024}));
process.exit(0);
