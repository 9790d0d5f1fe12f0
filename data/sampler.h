// Samplers choose the images of batch `number` of epoch `epoch`. They are pure functions of (seed, epoch, number), so a
// run resumes anywhere without stored state.
#pragma once
#include <cstdint>
#include <string>
#include <vector>

namespace coss {

class Sampler {
 public:
  virtual ~Sampler() = default;
  virtual int64_t batches_per_epoch() const = 0;
  virtual int64_t batch_size() const = 0;  // images in a full batch
  // True when an image may come more than once in an epoch; each time it is then augmented anew.
  virtual bool repeats() const { return false; }
  virtual std::vector<int64_t> batch(int64_t epoch, int64_t number) = 0;
};

// 0, 1, 2 … in order; the last batch may be short. For evaluation, embedding and mining.
class SequentialSampler : public Sampler {
 public:
  SequentialSampler(int64_t size, int64_t batch);
  int64_t batches_per_epoch() const override { return (size_ + batch_ - 1) / batch_; }
  int64_t batch_size() const override { return batch_; }
  std::vector<int64_t> batch(int64_t epoch, int64_t number) override;

 private:
  int64_t size_, batch_;
};

// A permutation per epoch, the incomplete last batch dropped.
class ShuffledSampler : public Sampler {
 public:
  ShuffledSampler(int64_t size, int64_t batch, uint64_t seed);
  int64_t batches_per_epoch() const override { return size_ / batch_; }
  int64_t batch_size() const override { return batch_; }
  std::vector<int64_t> batch(int64_t epoch, int64_t number) override;

 private:
  int64_t size_, batch_;
  uint64_t seed_;
  int64_t epoch_ = -1;
  std::vector<int64_t> order_;
};

// CoSS (ECCV 2024, its released program): `anchors` images of a seeded permutation, each followed by `nearest` of its
// first `pool` mined neighbors, drawn without replacement anew each epoch (all in order when nearest == pool). Batch =
// anchors * (1 + nearest). With `unique` an image that is in the batch already gives way to the next one drawn, then to
// the nearest beyond the pool; only when all that are stored are in it some come twice. (The released program lets
// images come twice.)
class NeighborSampler : public Sampler {
 public:
  // neighbors: (size, stored) i32 as `coss mine` writes them; stored >= pool >= nearest. Throws Error on an entry out
  // of range.
  NeighborSampler(std::vector<int32_t> neighbors, int64_t size, int64_t anchors, int64_t nearest, int64_t pool,
                  uint64_t seed, bool unique = false);
  int64_t batches_per_epoch() const override { return anchors_.batches_per_epoch(); }
  int64_t batch_size() const override { return anchors_.batch_size() * (1 + nearest_); }
  bool repeats() const override { return true; }
  std::vector<int64_t> batch(int64_t epoch, int64_t number) override;

 private:
  ShuffledSampler anchors_;
  std::vector<int32_t> neighbors_;
  int64_t stored_, nearest_, pool_;
  uint64_t seed_;
  bool unique_;
};

}  // namespace coss
