// The limit of this machine: how fast it computes the matrix products of a WaveNet's step in float32 (no conditioning, no
// sampling), written with vectors and left to the compiler; and how fast it multiplies and adds with nothing else to do.
//
//   g++ -O3 -march=native -std=gnu++17 -pthread limit.cpp -o limit && ./limit THREADS
//
// 24 layers, 128 residual, 256 gate and 128 skip channels, kernel 3. A vector holds one channel of 16 lanes; each weight
// is broadcast to it. Prints two numbers: samples/s, and GFLOP/s of multiply-add alone.

#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <thread>
#include <vector>

constexpr int kWidth = 16, kVectors = 4, kLanes = kWidth * kVectors, kRows = 6;
constexpr int kLayers = 24, kCycle = 6, kTaps = 3, kChannels = 128;
typedef float Vector __attribute__((vector_size(4 * kWidth)));

struct Matrix {  // [columns] x [lanes]
  std::vector<Vector> vectors;
  explicit Matrix(int columns) : vectors(columns * kVectors) {
    for (int i = 0; i < columns * kLanes; ++i) data()[i] = 0.01f * (i % 17 - 8);
  }
  Vector* operator[](int column) { return &vectors[column * kVectors]; }
  float* data() { return reinterpret_cast<float*>(vectors.data()); }
};

// y[rows] += w x for a block of rows; w is [column][row of the block]
template <int rows>
void block(const float* w, Matrix& x, int columns, Vector* y) {
  Vector sums[rows][kVectors];
  for (int r = 0; r < rows; ++r)
    for (int v = 0; v < kVectors; ++v) sums[r][v] = y[r * kVectors + v];
  for (int k = 0; k < columns; ++k, w += rows) {
    Vector input[kVectors];
    for (int v = 0; v < kVectors; ++v) input[v] = x[k][v];
    for (int r = 0; r < rows; ++r)
      for (int v = 0; v < kVectors; ++v) sums[r][v] += w[r] * input[v];
  }
  for (int r = 0; r < rows; ++r)
    for (int v = 0; v < kVectors; ++v) y[r * kVectors + v] = sums[r][v];
}

void product(const float* w, Matrix& x, int columns, int rows, Matrix& y) {
  int row = 0;
  for (; row + kRows <= rows; row += kRows) block<kRows>(w + row * columns, x, columns, y[row]);
  for (; row + 2 <= rows; row += 2) block<2>(w + row * columns, x, columns, y[row]);
}

struct Network {
  std::vector<std::vector<float>> gate, out;
  std::vector<std::vector<Matrix>> rings;
  Matrix h{kChannels}, z{2 * kChannels}, o{2 * kChannels}, skips{kChannels};
  Network() {
    for (int layer = 0; layer < kLayers; ++layer) {
      gate.emplace_back(kTaps * kChannels * 2 * kChannels, 0.01f);
      out.emplace_back(kChannels * 2 * kChannels, 0.01f);
      rings.emplace_back((kTaps - 1) << (layer % kCycle), Matrix(kChannels));
    }
  }
  void step(int time) {
    for (int layer = 0; layer < kLayers; ++layer) {
      auto& ring = rings[layer];
      const int slots = ring.size(), dilation = slots / (kTaps - 1), columns = kChannels * 2 * kChannels;
      Matrix* taps[kTaps] = {&ring[time % slots], &ring[(time + dilation) % slots], &h};
      for (int tap = 0; tap < kTaps; ++tap)
        product(gate[layer].data() + tap * columns, *taps[tap], kChannels, 2 * kChannels, z);
      constexpr int half = kChannels * kVectors;
      for (int i = 0; i < half; ++i) {
        taps[0]->vectors[i] = h.vectors[i];
        const Vector a = z.vectors[i], b = z.vectors[i + half];
        z.vectors[i] = a / (1 + a * a) * (b / (1 + b * b) + 1);  // two divisions, the cheapest gate possible
      }
      product(out[layer].data(), z, kChannels, 2 * kChannels, o);
      for (int i = 0; i < half; ++i) {
        h.vectors[i] = (h.vectors[i] + o.vectors[i]) * 0.70710678f;
        skips.vectors[i] += o.vectors[i + half];
        o.vectors[i] = o.vectors[i + half] = Vector{};
      }
      for (Vector& value : z.vectors) value = Vector{};
    }
  }
};

// Units of work a second, over all threads: each call of work(thread, repetition) does `amount` units.
template <typename Work>
double rate(int threads, int repetitions, double amount, Work work) {
  const auto started = std::chrono::steady_clock::now();
  std::vector<std::thread> workers;
  for (int thread = 0; thread < threads; ++thread)
    workers.emplace_back([=] { for (int i = 0; i < repetitions; ++i) work(thread, i); });
  for (auto& worker : workers) worker.join();
  const std::chrono::duration<double> seconds = std::chrono::steady_clock::now() - started;
  return threads * repetitions * amount / seconds.count();
}

int main(int count, char** arguments) {
  const int threads = count > 1 ? std::atoi(arguments[1]) : 1;
  std::vector<Network*> networks;
  for (int thread = 0; thread < threads; ++thread) networks.push_back(new Network);
  rate(threads, 20, 1, [&](int thread, int i) { networks[thread]->step(i); });
  const double samples = rate(threads, 300, kLanes, [&](int thread, int i) { networks[thread]->step(i); });

  std::vector<float> kept(threads * 1024);
  constexpr int kSums = 12, kTurns = 100000;
  const double operations = rate(threads, 500, 2.0 * kWidth * kSums * kTurns, [&](int thread, int i) {
    Vector sums[kSums], factor = Vector{} + 0.999f, term = Vector{} + 1e-3f * i;
    for (int j = 0; j < kSums; ++j) sums[j] = term * (1.0f * j);  // all different, or the compiler would compute only one
    for (int turn = 0; turn < kTurns; ++turn)
      for (Vector& sum : sums) sum = sum * factor + term;
    for (Vector& sum : sums) kept[thread * 1024] += sum[0];
  });
  std::printf("%.1f %.2f\n", samples, operations / 1e9);
  return networks[0]->h.data()[0] + kept[0] == 12345.678f;
}
