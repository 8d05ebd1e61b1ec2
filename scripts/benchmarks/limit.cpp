// The limit of this machine: how fast it computes the matrix products of a WaveNet's step in float32 (no conditioning,
// no sampling), written with vectors and left to the compiler; and how fast it multiplies and adds with nothing else to
// do. With matrix units (AMX), also the same products in bfloat16 on them.
//
//   g++ -O3 -march=native -std=gnu++17 -pthread limit.cpp -o limit && ./limit THREADS
//
// 24 layers, 128 residual, 256 gate and 128 skip channels, kernel 3. A vector holds one channel of 16 lanes, or of 8
// without AVX-512; each weight is broadcast to it. Prints three numbers: samples/s, GFLOP/s of multiply-add alone, and
// samples/s in bfloat16 on matrix units (0 without them).

#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <thread>
#include <vector>
#ifdef __AMX_BF16__
#include <immintrin.h>
#include <sys/syscall.h>
#include <unistd.h>
#endif

// Of the 32 vector registers of AVX-512 a block's sums take 24, of the 16 of AVX2 they take 12.
#ifdef __AVX512F__
constexpr int kWidth = 16, kBlock = 4;
#else
constexpr int kWidth = 8, kBlock = 2;
#endif
constexpr int kLanes = 64, kVectors = kLanes / kWidth, kRows = 6;
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

// y[rows] += w x for a block of rows and kBlock vectors of lanes from x and y on; w is [column][row of the block]
template <int rows>
void block(const float* w, const Vector* x, int columns, Vector* y) {
  Vector sums[rows][kBlock];
  for (int r = 0; r < rows; ++r)
    for (int v = 0; v < kBlock; ++v) sums[r][v] = y[r * kVectors + v];
  for (int k = 0; k < columns; ++k, w += rows) {
    Vector input[kBlock];
    for (int v = 0; v < kBlock; ++v) input[v] = x[k * kVectors + v];
    for (int r = 0; r < rows; ++r)
      for (int v = 0; v < kBlock; ++v) sums[r][v] += w[r] * input[v];
  }
  for (int r = 0; r < rows; ++r)
    for (int v = 0; v < kBlock; ++v) y[r * kVectors + v] = sums[r][v];
}

template <int rows>
void blocks(const float* w, Matrix& x, int columns, Vector* y) {  // the same for all lanes
  for (int v = 0; v < kVectors; v += kBlock) block<rows>(w, x[0] + v, columns, y + v);
}

void product(const float* w, Matrix& x, int columns, int rows, Matrix& y) {
  int row = 0;
  for (; row + kRows <= rows; row += kRows) blocks<kRows>(w + row * columns, x, columns, y[row]);
  for (; row + 2 <= rows; row += 2) blocks<2>(w + row * columns, x, columns, y[row]);
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

#ifdef __AMX_BF16__
constexpr int kTile = 16;  // lanes or rows of a tile; it is 32 columns of bfloat16 or 16 of float32 wide

bool allow_matrix_units() {  // asks Linux for the registers of tiles, for all threads to come
  constexpr int kRequest = 0x1023, kTileData = 18;
  return syscall(SYS_arch_prctl, kRequest, kTileData) == 0;
}

void configure_tiles() {  // eight tiles of 16 rows of 64 bytes
  struct alignas(64) {
    unsigned char palette = 1, start = 0, reserved[14] = {};
    unsigned short bytes[16] = {};
    unsigned char rows[16] = {};
  } config;
  for (int i = 0; i < 8; ++i) config.bytes[i] = 64, config.rows[i] = kTile;
  _tile_loadconfig(&config);
}

typedef unsigned short Half;  // a bfloat16

void to_bfloat16(__m512 values, Half* to) {
  _mm256_storeu_si256((__m256i*)to, (__m256i)_mm512_cvtneps_pbh(values));
}

// y[lanes][rows] = the sum of w[tap] x[tap] over taps. x[tap] is [lanes][columns], and w is
// [tap][block of 32 rows][pair of columns][row][2].
void matrix_product(const Half* w, const Half* const* x, int taps, int rows, float* y) {
  for (int row = 0; row < rows; row += 2 * kTile)
    for (int lane = 0; lane < kLanes; lane += 2 * kTile) {
      _tile_zero(0); _tile_zero(1); _tile_zero(2); _tile_zero(3);
      for (int tap = 0; tap < taps; ++tap) {
        const Half* inputs = x[tap] + lane * kChannels;
        const Half* weights = w + (tap * rows + row) * kChannels;
        for (int k = 0; k < kChannels; k += 32) {
          _tile_loadd(4, inputs + k, 2 * kChannels);
          _tile_loadd(5, inputs + k + kTile * kChannels, 2 * kChannels);
          _tile_loadd(6, weights + k * 2 * kTile, 8 * kTile);
          _tile_loadd(7, weights + k * 2 * kTile + 2 * kTile, 8 * kTile);
          _tile_dpbf16ps(0, 4, 6); _tile_dpbf16ps(1, 4, 7); _tile_dpbf16ps(2, 5, 6); _tile_dpbf16ps(3, 5, 7);
        }
      }
      float* to = y + lane * rows + row;
      _tile_stored(0, to, 4 * rows); _tile_stored(1, to + kTile, 4 * rows);
      _tile_stored(2, to + kTile * rows, 4 * rows); _tile_stored(3, to + kTile * rows + kTile, 4 * rows);
    }
}

struct MatrixNetwork {
  static constexpr int kRow = 2 * kChannels;
  std::vector<Half> gate, out;
  std::vector<std::vector<Half>> rings;
  std::vector<Half> gated;
  std::vector<float> h, z, o, skips;
  MatrixNetwork()
      : gate(kLayers * kTaps * kChannels * kRow, 0x3c23),
        out(kLayers * kChannels * kRow, 0x3c23),
        gated(kLanes * kChannels),
        h(kLanes * kChannels, 0.01f),
        z(kLanes * kRow),
        o(kLanes * kRow),
        skips(kLanes * kChannels) {
    for (int layer = 0; layer < kLayers; ++layer)
      rings.emplace_back((((kTaps - 1) << (layer % kCycle)) + 1) * kLanes * kChannels, 0x3c23);
  }
  void step(int time) {
    constexpr int slot = kLanes * kChannels;
    for (int layer = 0; layer < kLayers; ++layer) {
      const int dilation = 1 << (layer % kCycle), slots = (kTaps - 1) * dilation + 1;
      Half* ring = rings[layer].data();
      Half* newest = ring + time % slots * slot;
      for (int i = 0; i < slot; i += kTile) to_bfloat16(_mm512_loadu_ps(&h[i]), newest + i);
      const Half* taps[kTaps] = {ring + (time + 1) % slots * slot, ring + (time + 1 + dilation) % slots * slot, newest};
      matrix_product(&gate[layer * kTaps * kChannels * kRow], taps, kTaps, kRow, z.data());
      for (int lane = 0; lane < kLanes; ++lane)
        for (int i = 0; i < kChannels; i += kTile) {
          const __m512 a = _mm512_loadu_ps(&z[lane * kRow + i]);
          const __m512 b = _mm512_loadu_ps(&z[lane * kRow + kChannels + i]);
          to_bfloat16(a / (1 + a * a) * (b / (1 + b * b) + 1), &gated[lane * kChannels + i]);
        }
      const Half* inputs[1] = {gated.data()};
      matrix_product(&out[layer * kChannels * kRow], inputs, 1, kRow, o.data());
      for (int lane = 0; lane < kLanes; ++lane)
        for (int i = 0; i < kChannels; ++i) {
          float& value = h[lane * kChannels + i];
          value = (value + o[lane * kRow + i]) * 0.70710678f;
          skips[lane * kChannels + i] += o[lane * kRow + kChannels + i];
        }
    }
  }
};
#endif

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
    for (int j = 0; j < kSums; ++j) sums[j] = term * (1.0f * j);  // all different, or the compiler computes only one
    for (int turn = 0; turn < kTurns; ++turn)
      for (Vector& sum : sums) sum = sum * factor + term;
    for (Vector& sum : sums) kept[thread * 1024] += sum[0];
  });
  double matrix_samples = 0;
#ifdef __AMX_BF16__
  if (allow_matrix_units()) {
    std::vector<MatrixNetwork*> matrix_networks;
    for (int thread = 0; thread < threads; ++thread) matrix_networks.push_back(new MatrixNetwork);
    matrix_samples = rate(threads, 500, kLanes, [&](int thread, int i) {
      configure_tiles();
      matrix_networks[thread]->step(i);
    });
    for (auto* network : matrix_networks) kept[0] += network->skips[0];
  }
#endif
  std::printf("%.1f %.2f %.1f\n", samples, operations / 1e9, matrix_samples);
  return networks[0]->h.data()[0] + kept[0] == 12345.678f;
}
