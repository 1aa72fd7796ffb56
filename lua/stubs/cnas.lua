---@meta cnas

-- For editors with LuaLS. Made of lua/cnas/manual by: cnas recipes/manual.lua --stubs

---@class cnas
local cnas = {}

---Made by `cnas.tensor`, `cnas.zeros` and the like, and by every operation; each operation of ops.def is also a method. Memory goes when nothing uses the tensor any more, or at `close`.
---@class cnas.Tensor
---@field dtype string The type of the elements.
---@field device string Where they are kept: cpu, cuda:0, …
---@field requires_grad boolean Whether gradients flow to or through it. May be set on a tensor that was not computed.
---@field grad cnas.Tensor|nil The gradient that `backward` left, or nil. May be set.
---@operator add(cnas.Tensor|number): cnas.Tensor
---@operator sub(cnas.Tensor|number): cnas.Tensor
---@operator mul(cnas.Tensor|number): cnas.Tensor
---@operator div(cnas.Tensor|number): cnas.Tensor
---@operator pow(number): cnas.Tensor
---@operator unm: cnas.Tensor
---@operator len: integer
---@field [integer] cnas.Tensor
local Tensor = {}

---A stream of random numbers.
---@class cnas.Rng
---@field counter integer How far the stream has come; setting it goes there.
local Rng = {}

---A layer or a network. `tostring(m)` is its tree.
---@class cnas.Module
---@overload fun(x: cnas.Tensor, ...: any): cnas.Tensor
local Module = {}

---Moves parameters along their gradients. Made by `cnas.optim.sgd` or `cnas.optim.adam`.
---@class cnas.Optimizer
---@field lr number The learning rate of the first group; setting it sets all.
local Optimizer = {}

---A list of operations; `#space` is how many. The numbering is that of the list, then of the names.
---@class cnas.Space
local Space = {}

---A plain table { normal = { { "op", from, to }, … }, normal_concat = { … }, reduction =, reduction_concat = }, with methods; a node has two entries, nodes count from 0 with the two inputs as 0 and 1. Two are equal (==) when all of it is. A published name may stand for a genotype everywhere.
---@class cnas.Genotype
local Genotype = {}

---A kernel that `cnas.kernel` made. It shows its parameters: "cnas.Kernel: swish(float *y, const float *x, long long n)", without names that the text does not say plainly.
---@class cnas.Kernel
---@overload fun(grid: integer|integer[]|table, block?: integer|integer[], ...: any)
local Kernel = {}

---Images with labels; `#d` is how many.
---@class cnas.Dataset
---@field name string Its name.
---@field classes integer How many classes.
---@field class_names string[] Their names, where known.
---@field height integer Of an image, in pixels.
---@field width integer Of an image, in pixels.
---@field channels integer Of an image.
---@field mean number[] Of each channel, of pixels as 0 … 1, by which loaders normalise.
---@field std number[] The deviation of each channel.
local Dataset = {}

---One pass over a dataset; calling it gives the next batch, nil at the end. `#loader` is the number of batches.
---@class cnas.Loader
local Loader = {}

---What may be chosen, and drawing it uniformly: what every search needs. Fields: `rng`, the stream it samples from; `draw` and `uniform`, functions that return one architecture.
---@class cnas.Sampler
local Sampler = {}

---A sampler that has learnt: an LSTM for each kind of cell chooses, for each inner node, two earlier nodes and two operations.
---@class cnas.Controller: cnas.Sampler
local Controller = {}

---What networks cost, in microseconds instead of building them: `costs(arch)` is { parameters =, macs = } and, where it can be measured, `latency` in milliseconds.
---@class cnas.Costs
local Costs = {}

---An exponential moving average; its field `value` is the present one.
---@class cnas.MovingAverage
local MovingAverage = {}

---A weighted mean.
---@class cnas.Mean
local Mean = {}

---The largest number so far: `value`, and in `with` the numbers that belong to it.
---@class cnas.Best
local Best = {}

---The queue of regularized evolution (Real et al., AAAI 2019), in which the oldest dies.
---@class cnas.Population
local Population = {}

---A table: `columns`, its numbers by name, a list with an entry a row; `seconds`, the time of 12 epochs of training on CIFAR-10; `#bench` rows.
---@class cnas.NasBench201
local NasBench201 = {}

---A search under way: `best`, the best row so far, `best_reward`, `queries`, `spent` seconds.
---@class cnas.NasBench201.Task
local NasBench201_Task = {}

---A search in which no architecture is trained alone: a supernet is trained by architectures drawn uniformly, then architectures are measured with the weights they share. Its parts are fields: `run`, `stages` (one, with everything open); `train_set`, `valid_set`, `test_set`; `space`, `net`, `weights`; `sampler`; `costs`, `reward`, `score`; `finalists`, `front`.
---@class cnas.OneShot
local OneShot = {}

---The accuracy of architectures with the shared weights of a supernet: `score(arch)` is 0 … 1. Each is measured once.
---@class cnas.Score
local Score = {}

---The best few architectures that a search has seen, each once. `draw` is a function that returns one after the other, the best first.
---@class cnas.Finalists
local Finalists = {}

---The items that nobody beats in everything. `seen` counts all that were added; `#front` those that are left.
---@class cnas.Pareto
local Pareto = {}

---A run. `folder`, `step`, `progress`, `record`; `device`, where its batches are, that of `--device` (cnas.declared.device) where the recipe has it, else the CPU; `world`, the processes it is on, and `writes`, whether this one keeps the folder and prints: rank 0; `changes`, what was changed by hand so far: a list of { text =, by =, step =, stage =, epoch = }, `by` being "terminal", "attach", or "resume" where the recipe's own definitions came into force again.
---@class cnas.Run
local Run = {}

---A log made by `cnas.file.log`.
---@class cnas.Log
local Log = {}

---A lock on a folder.
---@class cnas.Lock
local Lock = {}

---A writer of events.
---@class cnas.Events
local Events = {}

---All processes of the run.
---@class cnas.World
---@field rank integer The number of this process, from 0.
---@field size integer How many there are.
local World = {}

---A sum over the processes that is under way.
---@class cnas.Exchange
local Exchange = {}

---An error that a program may tell apart: `code` and `message`; it prints as its message and has the methods of strings.
---@class cnas.Error
local Error = {}

---Layers as constructors that take one table of options.
---@class cnas.nn_module
cnas.nn = {}

---Optimizers over lists of tensors.
---@class cnas.optim_module
cnas.optim = {}

---Learning rates as functions of the epoch, which counts from 0: `optimizer.lr = rate(epoch - 1)`.
---@class cnas.schedule_module
cnas.schedule = {}

---A space of built-in operations by name, and of your own: functions of a table { channels =, stride =, affine =, track =, supernet =, rng = } that return a module. Your own stand behind the others, sorted by name; or write list entries { name =, build = }.
---@class cnas.space_module
---@overload fun(operations: table): cnas.Space
cnas.space = {}

---Genotypes from text and back.
---@class cnas.genotype_module
cnas.genotype = {}

---What networks would cost.
---@class cnas.cost_module
cnas.cost = {}

---Networks in files: safetensors with PyTorch's parameter names and layouts, or PyTorch's own files.
---@class cnas.model_module
cnas.model = {}

---A published network with its weights, for evaluation, and what is known about it; the file is fetched when it is not there. Options as for `cnas.pretrained.fetch` and `cnas.model.open`.
---@class cnas.pretrained_module
---@field models table What is published, by name.
---@overload fun(name: string, options?: table): cnas.Module
cnas.pretrained = {}

---@class cnas.latency.options
---@field batch? integer images in a batch (default 1)
---@field height? integer of the images (default 32)
---@field width? integer of the images; as their height by default
---@field channels? integer of the images (default 3)
---@field warmup? integer calls in front that do not count (default 3)
---@field runs? integer at least so many calls (default 5)
---@field most? integer at most so many (default 1000)
---@field seconds? number as many in between as fit in (default 0.2)

---Milliseconds of one call on random images without gradients: the median, the least and the most. `arch` is the path of a supernet; without it the options may stand in its place. A reward may use it; what it gives differs from call to call by some percent, so that a run that uses it is not repeated to the bit.
---@class cnas.latency_module
---@overload fun(net: cnas.Module|function, arch?: table, options?: cnas.latency.options): number
cnas.latency = {}

---The network that a recipe is about: one from a file, or one made of a cell with fresh weights.
---@class cnas.subject_module
cnas.subject = {}

---@class cnas.kernel.options
---@field source? string CUDA C; without it the file is read
---@field file? string what the compiler's messages call the text; without a source the file to read, beside which #include looks; by default NAME.cu
---@field name string of a `__global__` function; of a template an instance, as "turn<float>"
---@field options? string[] of the compiler, as "-DN=4", "--use_fast_math"
---@field device? string the GPU for whose architecture it is compiled, by default the one in use; it runs on others of the same, where its tensors are

---A kernel of your own, compiled for the GPU by NVRTC of the CUDA toolkit, which is looked for when it is first needed: the file that CNAS_NVRTC names; beside the GPU's module; in CUDA_PATH and CUDA_HOME; where the system looks for libraries; in /usr/local/cuda. The same text is compiled once in a program, whatever became of its headers since. What the compiler has against it is the error, with the lines of the text. Parameters may be numbers, and pointers to the elements of tensors: `float *` f32, `double *` f64, `long long *` and `int64_t *` i64, `unsigned char *` u8, `__nv_bfloat16 *` and `unsigned short *` bf16, `void *` any; vectors such as `float4 *` count as their elements. int8_t … uint64_t are declared; headers of the toolkit are found where it is installed whole.
---@class cnas.kernel_module
---@overload fun(options: cnas.kernel.options): cnas.Kernel
cnas.kernel = {}

---Datasets by name, and loaders that make batches of them.
---@class cnas.data_module
---@field sets table The datasets by name: functions of load's options that return a training set and a test set. Add your own.
cnas.data = {}

---What `cnas.data` is made of.
---@class cnas.datasets_module
cnas.datasets = {}

---@class cnas.sampler.options
---@field space cnas.Space the operations
---@field nodes integer inner nodes of a cell
---@field seed? integer of its samples (default 1)
---@field max_skip? integer at most so many skip_connect in a cell
---@field no_none? boolean never the operation none (default false)
---@field no_duplicate_edges? boolean the two inputs of a node come from different nodes (default false)
---@field costs? cnas.Costs what architectures cost, for the limits
---@field max_parameters? integer at most so many parameters
---@field max_macs? integer at most so many multiply-adds
---@field accept? function of an architecture: whether it may be

---A new sampler with everything open.
---@class cnas.sampler_module
---@field known table The options of a sampler, as for `cnas.args.check`: for who makes one of their own.
---@overload fun(options: cnas.sampler.options): cnas.Sampler
cnas.sampler = {}

---@class cnas.controller.options
---@field space cnas.Space the operations
---@field nodes integer inner nodes of a cell
---@field hidden? integer units (default 128)
---@field dtype? string type of its parameters (default "f32")
---@field temperature? number logits are divided by it
---@field tanh_constant? number logits become this times tanh(logits)
---@field op_tanh_reduce? number for operations that is divided by this
---@field seed? integer of its samples (default 1)
---@field max_skip? integer at most so many skip_connect in a cell
---@field no_none? boolean never the operation none (default false)
---@field no_duplicate_edges? boolean the two inputs of a node come from different nodes (default false)
---@field costs? cnas.Costs what architectures cost, for the limits
---@field max_parameters? integer at most so many parameters
---@field max_macs? integer at most so many multiply-adds
---@field accept? function of an architecture: whether it may be

---A new controller with everything open.
---@class cnas.controller_module
---@overload fun(options: cnas.controller.options): cnas.Controller
cnas.controller = {}

---@class cnas.costs.options
---@field space cnas.Space the operations
---@field channels? integer as for `cnas.network` (default 36)
---@field layers? integer as for `cnas.network` (default 20)
---@field classes? integer as for `cnas.network` (default 10)
---@field imagenet? boolean as for `cnas.network` (default false)
---@field auxiliary? boolean as for `cnas.network` (default false)
---@field height? integer of the images
---@field width? integer of the images
---@field latency? boolean|function measures milliseconds, or a function from an architecture to them; asked once for each

---The costs of the evaluation networks of a space's architectures.
---@class cnas.costs_module
---@overload fun(options: cnas.costs.options): cnas.Costs
cnas.costs = {}

---In which order the space opens: lists of stages { index, name, nodes, ops }.
---@class cnas.curriculum_module
cnas.curriculum = {}

---Numbers that are watched over many steps, and comparisons of many numbers.
---@class cnas.metric_module
cnas.metric = {}

---@class cnas.population.options
---@field size integer how many live
---@field sample integer how many of them, drawn with replacement, compete to be a parent
---@field rng cnas.Rng who draws
---@field revive? function makes an individual of what JSON said of it, when a kept population is loaded

---An empty population. Individuals are whatever JSON can say.
---@class cnas.population_module
---@overload fun(options: cnas.population.options): cnas.Population
cnas.population = {}

---The NAS-Bench-201 table as a search target: 15625 architectures, six edges with one of five operations each.
---@class cnas.nasbench201_module
---@field operations string[] The five operations.
cnas.nasbench201 = {}

---Opens the run of these options, which must have those of `cnas.oneshot.options`, and makes its parts.
---@class cnas.oneshot_module
---@field options table Declarations for `cnas.options`.
---@field quick table The values of a preset with which a search takes a minute or two.
---@overload fun(opt: table): cnas.OneShot
cnas.oneshot = {}

---@class cnas.score.options
---@field net cnas.Module the supernet
---@field dataset cnas.Dataset whose images
---@field batch? integer at a time (default 96)
---@field images? integer so many (default 10000)
---@field run? cnas.Run whose progress line counts them

---A new one, on the first images of a dataset without augmentation.
---@class cnas.score_module
---@overload fun(options: cnas.score.options): cnas.Score
cnas.score = {}

---A new list of at most `size`.
---@class cnas.finalists_module
---@overload fun(size: integer): cnas.Finalists
cnas.finalists = {}

---A new set. `aims` says of each value whether it should be "most" or "least".
---@class cnas.pareto_module
---@overload fun(aims: table): cnas.Pareto
cnas.pareto = {}

---Declarations of options that several recipes share, in groups: put those you want among the entries of `cnas.options`.
---@class cnas.declared_module
---@field device table Where networks are computed: see `cnas.device`.
---@field data table The dataset and its split.
---@field supernet table The supernet and how its weights are trained.
---@field controller table Size, learning rate and loss of a controller.
---@field guards table What may not be sampled.
---@field costs table What architectures may cost, and what the reward makes of it.
cnas.declared = {}

---The option --seeds of every recipe with a run folder: it runs once for each seed, in a subfolder of its own.
---@class cnas.seeds_module
cnas.seeds = {}

---A recipe's command line, declared as a table: the options of the running recipe. An entry { "name", default =, type =, min =, max =, choices =, help =, short =, metavar =, free =, once = } of the list is an option; `about` is the first line of --help; `presets` are tables of values by name. An entry with `argument = true` takes a word without a name, `argument = "many"` all that are left, in a list; they are required unless `optional`. With `folder = false` there are no options of a run folder, with `computes = false` beside it no --seed and --threads. In the result a field that was not declared is an error. Prints the help and ends the program when asked to.
---@class cnas.options_module
---@overload fun(spec: table): table
cnas.options = {}

---Runs: a folder and a place in the recipe's loops.
---@class cnas.run_module
cnas.run = {}

---What runs have left in their folders, or have so far.
---@class cnas.folder_module
cnas.folder = {}

---Whole files, folders, logs and locks.
---@class cnas.file_module
cnas.file = {}

---JSON with the same bytes for the same value.
---@class cnas.json_module
---@field null any What stands for null.
cnas.json = {}

---Tensors by name in a file, with checksums.
---@class cnas.safetensors_module
cnas.safetensors = {}

---Images in files, as u8 tensors (H,W,C), C = 1, 3 or 4.
---@class cnas.image_module
---@field reads_jpeg boolean Whether this program was built with libjpeg-turbo.
cnas.image = {}

---Pictures of cells.
---@class cnas.draw_module
cnas.draw = {}

---Files for TensorBoard.
---@class cnas.events_module
cnas.events = {}

---A plain Lua value as a tensor and back: for objects whose state is no numbers.
---@class cnas.packed_module
cnas.packed = {}

---What PyTorch saved, read without running anything in it.
---@class cnas.pth_module
cnas.pth = {}

---Writing, reading and running ONNX files.
---@class cnas.onnx_module
---@field rows table What each row of the engine is in ONNX: functions of the graph and the traced row. Add rows of your own.
cnas.onnx = {}

---ONNX files as tables; what nodes mean is `cnas.onnx`.
---@class cnas.onnx_model_module
cnas.onnx_model = {}

---The processes of a run.
---@class cnas.dist_module
---@field mpi boolean Whether this build can join other processes.
cnas.dist = {}

---What the interactive loop does with lines and values.
---@class cnas.repl_module
cnas.repl = {}

---This manual, as data.
---@class cnas.manual_module
cnas.manual = {}

---For modules of your own that take options as the library does.
---@class cnas.args_module
---@field optional table Stands for the default of an option that has none.
cnas.args = {}

---@class cnas.tensor.options
---@field dtype? string f32, f64, bf16, i64 or u8; a value that does not fit a whole type is an error (default "f32")
---@field device? string cpu, cuda or cuda:N (default "cpu")

---A tensor of a number (no dimensions) or of nested lists of equal length.
---@param values number|table
---@param options? cnas.tensor.options
---@return cnas.Tensor
function cnas.tensor(values, options) end

---@class cnas.zeros.options
---@field dtype? string type of the elements (default "f32")
---@field device? string where they are kept (default "cpu")

---A tensor of zeros; the sizes stand one by one or in one list.
---@param ... integer|table|cnas.zeros.options
---@return cnas.Tensor
function cnas.zeros(...) end

---@class cnas.ones.options
---@field dtype? string type of the elements (default "f32")
---@field device? string where they are kept (default "cpu")

---A tensor of ones.
---@param ... integer|table|cnas.ones.options
---@return cnas.Tensor
function cnas.ones(...) end

---@class cnas.empty.options
---@field dtype? string type of the elements (default "f32")
---@field device? string where they are kept (default "cpu")

---A tensor whose values are whatever was in memory: to be filled.
---@param ... integer|table|cnas.empty.options
---@return cnas.Tensor
function cnas.empty(...) end

---@class cnas.full.options
---@field dtype? string type of the elements (default "f32")
---@field device? string where they are kept (default "cpu")

---A tensor with one value everywhere.
---@param sizes integer[]
---@param value number
---@param options? cnas.full.options
---@return cnas.Tensor
function cnas.full(sizes, value, options) end

---@class cnas.arange.options
---@field dtype? string type of the elements (default "i64")
---@field device? string where they are kept (default "cpu")

---The whole numbers 0 … n-1.
---@param n integer
---@param options? cnas.arange.options
---@return cnas.Tensor
function cnas.arange(n, options) end

---@class cnas.rand.options
---@field rng cnas.Rng the stream, which moves on
---@field dtype? string type of the elements (default "f32")
---@field device? string where they are kept (default "cpu")

---Uniform numbers in [0, 1) from a stream, the same for every number of threads.
---@param ... integer|table|cnas.rand.options
---@return cnas.Tensor
function cnas.rand(...) end

---@class cnas.randn.options
---@field rng cnas.Rng the stream, which moves on
---@field dtype? string type of the elements (default "f32")
---@field device? string where they are kept (default "cpu")

---Normal numbers with mean 0 and deviation 1.
---@param ... integer|table|cnas.randn.options
---@return cnas.Tensor
function cnas.randn(...) end

---Whether a value is a tensor that was not closed.
---@param value any
---@return boolean
function cnas.is_tensor(value) end

---What `f(...)` returns, computed without recording for gradients.
---@param f function
---@param ... any
---@return any
function cnas.no_grad(f, ...) end

---Whether operations are recorded here: false within `cnas.no_grad`.
---@return boolean
function cnas.grad_enabled() end

---@class cnas.op.options
---@field name? string for error messages
---@field forward function (ctx, x…) -> one or more tensors; ctx is a fresh table to leave things in
---@field backward function (ctx, gy…) -> a gradient, or nil, for each x

---An operation of your own with its own gradient. Arguments that are no tensors reach `forward` too.
---@param options cnas.op.options
---@return function
function cnas.op(options) end

---The rows of ops.def: a list of { name, kind, inputs, attrs, outputs, types, doc }.
---@return table[]
function cnas.ops() end

---The sizes as a list.
---@return integer[]
function Tensor:shape() end

---One size; a negative dimension counts from the end.
---@param dim integer
---@return integer
function Tensor:size(dim) end

---How many dimensions.
---@return integer
function Tensor:dim() end

---How many elements.
---@return integer
function Tensor:count() end

---The value of a tensor with one element.
---@return number
function Tensor:item() end

---The values as nested lists; a number for a tensor without dimensions.
---@return table|number
function Tensor:totable() end

---Whether the elements lie one behind the other in row-major order.
---@return boolean
function Tensor:is_contiguous() end

---The same values, shared, without gradient.
---@return cnas.Tensor
function Tensor:detach() end

---A copy, with gradient.
---@return cnas.Tensor
function Tensor:clone() end

---As another type and on another device: `t:to("f64")`, `t:to("cuda")`, `t:to("f32", "cpu")`.
---@param ... string
---@return cnas.Tensor
function Tensor:to(...) end

---Writes the other's values, of the same shape and any type, into this one. An error where a gradient would notice.
---@param other cnas.Tensor
---@return cnas.Tensor
function Tensor:copy_(other) end

---@class cnas.Tensor.backward.options
---@field retain? boolean keep it for another backward (default false)

---Computes the gradients of all that this tensor was computed from; it must have one element unless `gradient` is given. Frees what was recorded.
---@param gradient? cnas.Tensor
---@param options? cnas.Tensor.backward.options
function Tensor:backward(gradient, options) end

---Asks for a gradient (or, with false, no longer); returns the tensor.
---@param on? boolean
---@return cnas.Tensor
function Tensor:requires_grad_(on) end

---Sets or, with nil, removes the gradient.
---@param gradient? cnas.Tensor
function Tensor:set_grad(gradient) end

---Frees the tensor at once; using it afterwards is an error.
function Tensor:close() end

----x.
---@param x cnas.Tensor
---@return cnas.Tensor y
function cnas.neg(x) end

---See cnas.neg.
---@return cnas.Tensor y
function Tensor:neg() end

---e^x.
---@param x cnas.Tensor
---@return cnas.Tensor y
function cnas.exp(x) end

---See cnas.exp.
---@return cnas.Tensor y
function Tensor:exp() end

---Natural logarithm of x.
---@param x cnas.Tensor
---@return cnas.Tensor y
function cnas.log(x) end

---See cnas.log.
---@return cnas.Tensor y
function Tensor:log() end

---Square root of x.
---@param x cnas.Tensor
---@return cnas.Tensor y
function cnas.sqrt(x) end

---See cnas.sqrt.
---@return cnas.Tensor y
function Tensor:sqrt() end

---|x|; gradient 0 at 0.
---@param x cnas.Tensor
---@return cnas.Tensor y
function cnas.abs(x) end

---See cnas.abs.
---@return cnas.Tensor y
function Tensor:abs() end

---Hyperbolic tangent of x.
---@param x cnas.Tensor
---@return cnas.Tensor y
function cnas.tanh(x) end

---See cnas.tanh.
---@return cnas.Tensor y
function Tensor:tanh() end

---1 / (1 + e^-x).
---@param x cnas.Tensor
---@return cnas.Tensor y
function cnas.sigmoid(x) end

---See cnas.sigmoid.
---@return cnas.Tensor y
function Tensor:sigmoid() end

---max(x, 0); NaN stays NaN; gradient 0 at 0.
---@param x cnas.Tensor
---@return cnas.Tensor y
function cnas.relu(x) end

---See cnas.relu.
---@return cnas.Tensor y
function Tensor:relu() end

---@class cnas.pow.options
---@field exponent number

---x to a constant power.
---
---What follows the tensors may be given by position or in one table of names.
---@param x cnas.Tensor
---@param exponent number
---@return cnas.Tensor y
function cnas.pow(x, exponent) end

---See cnas.pow.
---@param exponent number
---@return cnas.Tensor y
function Tensor:pow(exponent) end

---@class cnas.clamp.options
---@field min number
---@field max number

---x limited to [min, max]; gradient 1 on the ends.
---
---What follows the tensors may be given by position or in one table of names.
---@param x cnas.Tensor
---@param min number
---@param max number
---@return cnas.Tensor y
function cnas.clamp(x, min, max) end

---See cnas.clamp.
---@param min number
---@param max number
---@return cnas.Tensor y
function Tensor:clamp(min, max) end

---@class cnas.scale.options
---@field factor? number  (default 1)
---@field shift? number  (default 0)

---Factor * x + shift.
---
---What follows the tensors may be given by position or in one table of names.
---@param x cnas.Tensor
---@param factor? number
---@param shift? number
---@return cnas.Tensor y
function cnas.scale(x, factor, shift) end

---See cnas.scale.
---@param factor? number
---@param shift? number
---@return cnas.Tensor y
function Tensor:scale(factor, shift) end

---x + y.
---@param x cnas.Tensor
---@param y cnas.Tensor
---@return cnas.Tensor z
function cnas.add(x, y) end

---See cnas.add.
---@param y cnas.Tensor
---@return cnas.Tensor z
function Tensor:add(y) end

---x - y.
---@param x cnas.Tensor
---@param y cnas.Tensor
---@return cnas.Tensor z
function cnas.sub(x, y) end

---See cnas.sub.
---@param y cnas.Tensor
---@return cnas.Tensor z
function Tensor:sub(y) end

---x * y.
---@param x cnas.Tensor
---@param y cnas.Tensor
---@return cnas.Tensor z
function cnas.mul(x, y) end

---See cnas.mul.
---@param y cnas.Tensor
---@return cnas.Tensor z
function Tensor:mul(y) end

---x / y.
---@param x cnas.Tensor
---@param y cnas.Tensor
---@return cnas.Tensor z
function cnas.div(x, y) end

---See cnas.div.
---@param y cnas.Tensor
---@return cnas.Tensor z
function Tensor:div(y) end

---The larger; at a tie each gets half the gradient.
---@param x cnas.Tensor
---@param y cnas.Tensor
---@return cnas.Tensor z
function cnas.maximum(x, y) end

---See cnas.maximum.
---@param y cnas.Tensor
---@return cnas.Tensor z
function Tensor:maximum(y) end

---The smaller; at a tie each gets half the gradient.
---@param x cnas.Tensor
---@param y cnas.Tensor
---@return cnas.Tensor z
function cnas.minimum(x, y) end

---See cnas.minimum.
---@param y cnas.Tensor
---@return cnas.Tensor z
function Tensor:minimum(y) end

---x == y, as u8.
---@param x cnas.Tensor
---@param y cnas.Tensor
---@return cnas.Tensor z
function cnas.eq(x, y) end

---See cnas.eq.
---@param y cnas.Tensor
---@return cnas.Tensor z
function Tensor:eq(y) end

---x ~= y, as u8.
---@param x cnas.Tensor
---@param y cnas.Tensor
---@return cnas.Tensor z
function cnas.ne(x, y) end

---See cnas.ne.
---@param y cnas.Tensor
---@return cnas.Tensor z
function Tensor:ne(y) end

---x < y, as u8.
---@param x cnas.Tensor
---@param y cnas.Tensor
---@return cnas.Tensor z
function cnas.lt(x, y) end

---See cnas.lt.
---@param y cnas.Tensor
---@return cnas.Tensor z
function Tensor:lt(y) end

---x <= y, as u8.
---@param x cnas.Tensor
---@param y cnas.Tensor
---@return cnas.Tensor z
function cnas.le(x, y) end

---See cnas.le.
---@param y cnas.Tensor
---@return cnas.Tensor z
function Tensor:le(y) end

---x > y, as u8.
---@param x cnas.Tensor
---@param y cnas.Tensor
---@return cnas.Tensor z
function cnas.gt(x, y) end

---See cnas.gt.
---@param y cnas.Tensor
---@return cnas.Tensor z
function Tensor:gt(y) end

---x >= y, as u8.
---@param x cnas.Tensor
---@param y cnas.Tensor
---@return cnas.Tensor z
function cnas.ge(x, y) end

---See cnas.ge.
---@param y cnas.Tensor
---@return cnas.Tensor z
function Tensor:ge(y) end

---x where cond is not 0, else y; all three broadcast.
---@param cond cnas.Tensor
---@param x cnas.Tensor
---@param y cnas.Tensor
---@return cnas.Tensor z
function cnas.where(cond, x, y) end

---See cnas.where.
---@param x cnas.Tensor
---@param y cnas.Tensor
---@return cnas.Tensor z
function Tensor:where(x, y) end

---The same values in row-major order.
---@param x cnas.Tensor
---@return cnas.Tensor y
function cnas.contiguous(x) end

---See cnas.contiguous.
---@return cnas.Tensor y
function Tensor:contiguous() end

---@class cnas.cast.options
---@field dtype string

---x as another type; floats are cut toward zero and limited to the range, NaN gives 0; gradient between floats.
---
---What follows the tensors may be given by position or in one table of names.
---@param x cnas.Tensor
---@param dtype string
---@return cnas.Tensor y
function cnas.cast(x, dtype) end

---See cnas.cast.
---@param dtype string
---@return cnas.Tensor y
function Tensor:cast(dtype) end

---@class cnas.concat.options
---@field dim? integer  (default 1)

---Joined along a dimension.
---
---What follows the tensors may be given by position or in one table of names.
---@param ... cnas.Tensor
---@return cnas.Tensor y
function cnas.concat(...) end

---See cnas.concat.
---@param dim? integer
---@return cnas.Tensor y
function Tensor:concat(dim) end

---@class cnas.reshape.options
---@field shape integer[]

---Another shape of as many elements; one size may be -1.
---
---What follows the tensors may be given by position or in one table of names.
---@param x cnas.Tensor
---@param shape integer[]
---@return cnas.Tensor y
function cnas.reshape(x, shape) end

---See cnas.reshape.
---@param shape integer[]
---@return cnas.Tensor y
function Tensor:reshape(shape) end

---@class cnas.transpose.options
---@field dim1? integer  (default 1)
---@field dim2? integer  (default 2)

---Two dimensions exchanged.
---
---What follows the tensors may be given by position or in one table of names.
---@param x cnas.Tensor
---@param dim1? integer
---@param dim2? integer
---@return cnas.Tensor y
function cnas.transpose(x, dim1, dim2) end

---See cnas.transpose.
---@param dim1? integer
---@param dim2? integer
---@return cnas.Tensor y
function Tensor:transpose(dim1, dim2) end

---@class cnas.permute.options
---@field dims integer[]

---Dimensions in another order (counted from 1).
---
---What follows the tensors may be given by position or in one table of names.
---@param x cnas.Tensor
---@param dims integer[]
---@return cnas.Tensor y
function cnas.permute(x, dims) end

---See cnas.permute.
---@param dims integer[]
---@return cnas.Tensor y
function Tensor:permute(dims) end

---@class cnas.narrow.options
---@field dim integer
---@field start integer
---@field length integer

---`length` entries along a dimension from `start` (counted from 1).
---
---What follows the tensors may be given by position or in one table of names.
---@param x cnas.Tensor
---@param dim integer
---@param start integer
---@param length integer
---@return cnas.Tensor y
function cnas.narrow(x, dim, start, length) end

---See cnas.narrow.
---@param dim integer
---@param start integer
---@param length integer
---@return cnas.Tensor y
function Tensor:narrow(dim, start, length) end

---@class cnas.select.options
---@field dim integer
---@field index integer

---One entry along a dimension (counted from 1), which goes away.
---
---What follows the tensors may be given by position or in one table of names.
---@param x cnas.Tensor
---@param dim integer
---@param index integer
---@return cnas.Tensor y
function cnas.select(x, dim, index) end

---See cnas.select.
---@param dim integer
---@param index integer
---@return cnas.Tensor y
function Tensor:select(dim, index) end

---@class cnas.expand.options
---@field shape integer[]

---Sizes of 1 and leading dimensions stretched.
---
---What follows the tensors may be given by position or in one table of names.
---@param x cnas.Tensor
---@param shape integer[]
---@return cnas.Tensor y
function cnas.expand(x, shape) end

---See cnas.expand.
---@param shape integer[]
---@return cnas.Tensor y
function Tensor:expand(shape) end

---@class cnas.squeeze.options
---@field dim integer

---Without a dimension of size 1.
---
---What follows the tensors may be given by position or in one table of names.
---@param x cnas.Tensor
---@param dim integer
---@return cnas.Tensor y
function cnas.squeeze(x, dim) end

---See cnas.squeeze.
---@param dim integer
---@return cnas.Tensor y
function Tensor:squeeze(dim) end

---@class cnas.unsqueeze.options
---@field dim integer

---With a new dimension of size 1 at `dim`.
---
---What follows the tensors may be given by position or in one table of names.
---@param x cnas.Tensor
---@param dim integer
---@return cnas.Tensor y
function cnas.unsqueeze(x, dim) end

---See cnas.unsqueeze.
---@param dim integer
---@return cnas.Tensor y
function Tensor:unsqueeze(dim) end

---@class cnas.sum.options
---@field dims? integer|integer[]  (default all)
---@field keepdim? boolean  (default false)

---Sum over dimensions (all by default); i64 and u8 give i64.
---
---What follows the tensors may be given by position or in one table of names.
---@param x cnas.Tensor
---@param dims? integer|integer[]
---@param keepdim? boolean
---@return cnas.Tensor y
function cnas.sum(x, dims, keepdim) end

---See cnas.sum.
---@param dims? integer|integer[]
---@param keepdim? boolean
---@return cnas.Tensor y
function Tensor:sum(dims, keepdim) end

---@class cnas.mean.options
---@field dims? integer|integer[]  (default all)
---@field keepdim? boolean  (default false)

---Mean over dimensions.
---
---What follows the tensors may be given by position or in one table of names.
---@param x cnas.Tensor
---@param dims? integer|integer[]
---@param keepdim? boolean
---@return cnas.Tensor y
function cnas.mean(x, dims, keepdim) end

---See cnas.mean.
---@param dims? integer|integer[]
---@param keepdim? boolean
---@return cnas.Tensor y
function Tensor:mean(dims, keepdim) end

---@class cnas.max.options
---@field dim? integer  (default -1)
---@field keepdim? boolean  (default false)

---Largest along one dimension; the first of equals gets the gradient.
---
---What follows the tensors may be given by position or in one table of names.
---@param x cnas.Tensor
---@param dim? integer
---@param keepdim? boolean
---@return cnas.Tensor y
function cnas.max(x, dim, keepdim) end

---See cnas.max.
---@param dim? integer
---@param keepdim? boolean
---@return cnas.Tensor y
function Tensor:max(dim, keepdim) end

---@class cnas.min.options
---@field dim? integer  (default -1)
---@field keepdim? boolean  (default false)

---Smallest along one dimension; the first of equals gets the gradient.
---
---What follows the tensors may be given by position or in one table of names.
---@param x cnas.Tensor
---@param dim? integer
---@param keepdim? boolean
---@return cnas.Tensor y
function cnas.min(x, dim, keepdim) end

---See cnas.min.
---@param dim? integer
---@param keepdim? boolean
---@return cnas.Tensor y
function Tensor:min(dim, keepdim) end

---@class cnas.argmax.options
---@field dim? integer  (default -1)
---@field keepdim? boolean  (default false)

---Index (from 0) of the first largest along one dimension, as i64.
---
---What follows the tensors may be given by position or in one table of names.
---@param x cnas.Tensor
---@param dim? integer
---@param keepdim? boolean
---@return cnas.Tensor index
function cnas.argmax(x, dim, keepdim) end

---See cnas.argmax.
---@param dim? integer
---@param keepdim? boolean
---@return cnas.Tensor index
function Tensor:argmax(dim, keepdim) end

---@class cnas.argmin.options
---@field dim? integer  (default -1)
---@field keepdim? boolean  (default false)

---Index (from 0) of the first smallest along one dimension, as i64.
---
---What follows the tensors may be given by position or in one table of names.
---@param x cnas.Tensor
---@param dim? integer
---@param keepdim? boolean
---@return cnas.Tensor index
function cnas.argmin(x, dim, keepdim) end

---See cnas.argmin.
---@param dim? integer
---@param keepdim? boolean
---@return cnas.Tensor index
function Tensor:argmin(dim, keepdim) end

---@class cnas.topk.options
---@field k integer

---Indices (from 0) of the k largest along the last dimension, largest first, ties by index, as i64.
---
---What follows the tensors may be given by position or in one table of names.
---@param x cnas.Tensor
---@param k integer
---@return cnas.Tensor index
function cnas.topk(x, k) end

---See cnas.topk.
---@param k integer
---@return cnas.Tensor index
function Tensor:topk(k) end

---Sum of squares of all elements, summed and returned in f64.
---@param x cnas.Tensor
---@return cnas.Tensor y
function cnas.squared_norm(x) end

---See cnas.squared_norm.
---@return cnas.Tensor y
function Tensor:squared_norm() end

---@class cnas.index_select.options
---@field dim? integer  (default 1)

---Entries along a dimension by index.
---
---What follows the tensors may be given by position or in one table of names.
---@param x cnas.Tensor
---@param index cnas.Tensor
---@param dim? integer
---@return cnas.Tensor y
function cnas.index_select(x, index, dim) end

---See cnas.index_select.
---@param index cnas.Tensor
---@param dim? integer
---@return cnas.Tensor y
function Tensor:index_select(index, dim) end

---@class cnas.gather.options
---@field dim? integer  (default -1)

---For each element of index, the entry of x at that place along `dim`.
---
---What follows the tensors may be given by position or in one table of names.
---@param x cnas.Tensor
---@param index cnas.Tensor
---@param dim? integer
---@return cnas.Tensor y
function cnas.gather(x, index, dim) end

---See cnas.gather.
---@param index cnas.Tensor
---@param dim? integer
---@return cnas.Tensor y
function Tensor:gather(index, dim) end

---Rows of weight (V,E) by index (any shape): (...,E).
---@param weight cnas.Tensor
---@param index cnas.Tensor
---@return cnas.Tensor y
function cnas.embedding(weight, index) end

---See cnas.embedding.
---@param index cnas.Tensor
---@return cnas.Tensor y
function Tensor:embedding(index) end

---(M,K)(K,N) or batched (B,M,K)(B,K,N).
---@param x cnas.Tensor
---@param y cnas.Tensor
---@return cnas.Tensor z
function cnas.matmul(x, y) end

---See cnas.matmul.
---@param y cnas.Tensor
---@return cnas.Tensor z
function Tensor:matmul(y) end

---x (N,I) times weight (I,O) plus bias (O).
---@param x cnas.Tensor
---@param weight cnas.Tensor
---@param bias? cnas.Tensor
---@return cnas.Tensor y
function cnas.linear(x, weight, bias) end

---See cnas.linear.
---@param weight cnas.Tensor
---@param bias? cnas.Tensor
---@return cnas.Tensor y
function Tensor:linear(weight, bias) end

---The elementwise part of an LSTM: gates (N,4H) in the order input, forget, cell, output, before their nonlinearities, and cell state c (N,H); returns hidden state and next cell state.
---@param gates cnas.Tensor
---@param c cnas.Tensor
---@return cnas.Tensor h
---@return cnas.Tensor next
function cnas.lstm_gates(gates, c) end

---See cnas.lstm_gates.
---@param c cnas.Tensor
---@return cnas.Tensor h
---@return cnas.Tensor next
function Tensor:lstm_gates(c) end

---One LSTM step: x (N,I), h and c (N,H), weight_ih (I,4H), weight_hh (H,4H), bias (4H); gates in the order input, forget, cell, output.
---@param x cnas.Tensor
---@param h cnas.Tensor
---@param c cnas.Tensor
---@param weight_ih cnas.Tensor
---@param weight_hh cnas.Tensor
---@param bias? cnas.Tensor
---@return cnas.Tensor h_next
---@return cnas.Tensor c_next
function cnas.lstm_cell(x, h, c, weight_ih, weight_hh, bias) end

---See cnas.lstm_cell.
---@param h cnas.Tensor
---@param c cnas.Tensor
---@param weight_ih cnas.Tensor
---@param weight_hh cnas.Tensor
---@param bias? cnas.Tensor
---@return cnas.Tensor h_next
---@return cnas.Tensor c_next
function Tensor:lstm_cell(h, c, weight_ih, weight_hh, bias) end

---@class cnas.conv2d.options
---@field stride? integer|integer[]  (default 1)
---@field padding? integer|integer[]  (default 0)
---@field dilation? integer|integer[]  (default 1)
---@field groups? integer  (default 1)
---@field relu? boolean  (default false)

---2-d convolution (cross-correlation), weight (KH,KW,C/groups,O); relu: the convolution of max(x, 0).
---
---What follows the tensors may be given by position or in one table of names.
---@param x cnas.Tensor
---@param weight cnas.Tensor
---@param bias? cnas.Tensor
---@param stride? integer|integer[]
---@param padding? integer|integer[]
---@param dilation? integer|integer[]
---@param groups? integer
---@param relu? boolean
---@return cnas.Tensor y
function cnas.conv2d(x, weight, bias, stride, padding, dilation, groups, relu) end

---See cnas.conv2d.
---@param weight cnas.Tensor
---@param bias? cnas.Tensor
---@param stride? integer|integer[]
---@param padding? integer|integer[]
---@param dilation? integer|integer[]
---@param groups? integer
---@param relu? boolean
---@return cnas.Tensor y
function Tensor:conv2d(weight, bias, stride, padding, dilation, groups, relu) end

---@class cnas.max_pool2d.options
---@field kernel integer|integer[]
---@field stride? integer|integer[]  (default 1)
---@field padding? integer|integer[]  (default 0)

---Largest in each window; padding never wins; the first of equals gets the gradient.
---
---What follows the tensors may be given by position or in one table of names.
---@param x cnas.Tensor
---@param kernel integer|integer[]
---@param stride? integer|integer[]
---@param padding? integer|integer[]
---@return cnas.Tensor y
function cnas.max_pool2d(x, kernel, stride, padding) end

---See cnas.max_pool2d.
---@param kernel integer|integer[]
---@param stride? integer|integer[]
---@param padding? integer|integer[]
---@return cnas.Tensor y
function Tensor:max_pool2d(kernel, stride, padding) end

---@class cnas.avg_pool2d.options
---@field kernel integer|integer[]
---@field stride? integer|integer[]  (default 1)
---@field padding? integer|integer[]  (default 0)

---Mean of each window; padding is not counted.
---
---What follows the tensors may be given by position or in one table of names.
---@param x cnas.Tensor
---@param kernel integer|integer[]
---@param stride? integer|integer[]
---@param padding? integer|integer[]
---@return cnas.Tensor y
function cnas.avg_pool2d(x, kernel, stride, padding) end

---See cnas.avg_pool2d.
---@param kernel integer|integer[]
---@param stride? integer|integer[]
---@param padding? integer|integer[]
---@return cnas.Tensor y
function Tensor:avg_pool2d(kernel, stride, padding) end

---Mean of each channel: (N,C).
---@param x cnas.Tensor
---@return cnas.Tensor y
function cnas.global_avg_pool2d(x) end

---See cnas.global_avg_pool2d.
---@return cnas.Tensor y
function Tensor:global_avg_pool2d() end

---@class cnas.batch_norm.options
---@field training? boolean  (default true)
---@field momentum? number  (default 0.1)
---@field eps? number  (default 1e-5)

---(x - mean) / sqrt(var + eps) * weight + bias for each channel (last dimension); in training the batch's statistics (and the running ones, where given, move towards them, the variance by n/(n-1)), else the running ones.
---
---What follows the tensors may be given by position or in one table of names.
---@param x cnas.Tensor
---@param weight? cnas.Tensor
---@param bias? cnas.Tensor
---@param running_mean? cnas.Tensor
---@param running_var? cnas.Tensor
---@param training? boolean
---@param momentum? number
---@param eps? number
---@return cnas.Tensor y
function cnas.batch_norm(x, weight, bias, running_mean, running_var, training, momentum, eps) end

---See cnas.batch_norm.
---@param weight? cnas.Tensor
---@param bias? cnas.Tensor
---@param running_mean? cnas.Tensor
---@param running_var? cnas.Tensor
---@param training? boolean
---@param momentum? number
---@param eps? number
---@return cnas.Tensor y
function Tensor:batch_norm(weight, bias, running_mean, running_var, training, momentum, eps) end

---@class cnas.subsample2d.options
---@field stride? integer  (default 2)
---@field offset? integer|integer[]  (default 0)

---Pixel (stride*i + offset) for each i < ceil(size / stride); zero outside the image.
---
---What follows the tensors may be given by position or in one table of names.
---@param x cnas.Tensor
---@param stride? integer
---@param offset? integer|integer[]
---@return cnas.Tensor y
function cnas.subsample2d(x, stride, offset) end

---See cnas.subsample2d.
---@param stride? integer
---@param offset? integer|integer[]
---@return cnas.Tensor y
function Tensor:subsample2d(stride, offset) end

---@class cnas.separable_block.options
---@field stride? integer|integer[]  (default 1)
---@field padding? integer|integer[]  (default 0)
---@field dilation? integer|integer[]  (default 1)
---@field relu? boolean  (default true)

---a depthwise convolution with weight (KH,KW,1,C) and a 1x1 convolution with weight (1,1,C,O).
---
---What follows the tensors may be given by position or in one table of names.
---@param x cnas.Tensor
---@param depthwise cnas.Tensor
---@param pointwise cnas.Tensor
---@param scale? cnas.Tensor
---@param shift? cnas.Tensor
---@param stride? integer|integer[]
---@param padding? integer|integer[]
---@param dilation? integer|integer[]
---@param relu? boolean
---@return cnas.Tensor z
---@return cnas.Tensor mean
---@return cnas.Tensor var
function cnas.separable_block(x, depthwise, pointwise, scale, shift, stride, padding, dilation, relu) end

---See cnas.separable_block.
---@param depthwise cnas.Tensor
---@param pointwise cnas.Tensor
---@param scale? cnas.Tensor
---@param shift? cnas.Tensor
---@param stride? integer|integer[]
---@param padding? integer|integer[]
---@param dilation? integer|integer[]
---@param relu? boolean
---@return cnas.Tensor z
---@return cnas.Tensor mean
---@return cnas.Tensor var
function Tensor:separable_block(depthwise, pointwise, scale, shift, stride, padding, dilation, relu) end

---@class cnas.pointwise_block.options
---@field relu? boolean  (default true)

---a 1x1 convolution with weight (1,1,I,O) of images joined along their I channels, which memory never holds joined.
---
---What follows the tensors may be given by position or in one table of names.
---@param weight cnas.Tensor
---@param scale? cnas.Tensor
---@param shift? cnas.Tensor
---@param ... cnas.Tensor
---@return cnas.Tensor z
---@return cnas.Tensor mean
---@return cnas.Tensor var
function cnas.pointwise_block(weight, scale, shift, ...) end

---See cnas.pointwise_block.
---@param scale? cnas.Tensor
---@param shift? cnas.Tensor
---@param ... cnas.Tensor
---@return cnas.Tensor z
---@return cnas.Tensor mean
---@return cnas.Tensor var
function Tensor:pointwise_block(scale, shift, ...) end

---@class cnas.pointwise_blocks.options
---@field relu? boolean  (default true)

---Two or three pointwise_block with these weights that read their images together, once.
---
---What follows the tensors may be given by position or in one table of names.
---@param first cnas.Tensor
---@param second cnas.Tensor
---@param third? cnas.Tensor
---@param scale? cnas.Tensor
---@param shift? cnas.Tensor
---@param ... cnas.Tensor
---@return cnas.Tensor z
---@return cnas.Tensor mean
---@return cnas.Tensor var
---@return cnas.Tensor z2
---@return cnas.Tensor mean2
---@return cnas.Tensor var2
---@return cnas.Tensor z3
---@return cnas.Tensor mean3
---@return cnas.Tensor var3
function cnas.pointwise_blocks(first, second, third, scale, shift, ...) end

---See cnas.pointwise_blocks.
---@param second cnas.Tensor
---@param third? cnas.Tensor
---@param scale? cnas.Tensor
---@param shift? cnas.Tensor
---@param ... cnas.Tensor
---@return cnas.Tensor z
---@return cnas.Tensor mean
---@return cnas.Tensor var
---@return cnas.Tensor z2
---@return cnas.Tensor mean2
---@return cnas.Tensor var2
---@return cnas.Tensor z3
---@return cnas.Tensor mean3
---@return cnas.Tensor var3
function Tensor:pointwise_blocks(second, third, scale, shift, ...) end

---@class cnas.reduce_block.options
---@field relu? boolean  (default true)

---Factorized reduction: two 1x1 convolutions of stride 2, weights (1,1,I,O/2), on grids one pixel apart, of images joined along their I channels; an odd size is padded by one zero in front.
---
---What follows the tensors may be given by position or in one table of names.
---@param first cnas.Tensor
---@param second cnas.Tensor
---@param scale? cnas.Tensor
---@param shift? cnas.Tensor
---@param ... cnas.Tensor
---@return cnas.Tensor z
---@return cnas.Tensor mean
---@return cnas.Tensor var
function cnas.reduce_block(first, second, scale, shift, ...) end

---See cnas.reduce_block.
---@param second cnas.Tensor
---@param scale? cnas.Tensor
---@param shift? cnas.Tensor
---@param ... cnas.Tensor
---@return cnas.Tensor z
---@return cnas.Tensor mean
---@return cnas.Tensor var
function Tensor:reduce_block(second, scale, shift, ...) end

---@class cnas.conv_block.options
---@field stride? integer|integer[]  (default 1)
---@field padding? integer|integer[]  (default 0)
---@field dilation? integer|integer[]  (default 1)
---@field groups? integer  (default 1)
---@field relu? boolean  (default false)

---conv2d of x as it is, for all that is neither separable nor 1x1.
---
---What follows the tensors may be given by position or in one table of names.
---@param x cnas.Tensor
---@param weight cnas.Tensor
---@param stride? integer|integer[]
---@param padding? integer|integer[]
---@param dilation? integer|integer[]
---@param groups? integer
---@param relu? boolean
---@return cnas.Tensor z
---@return cnas.Tensor mean
---@return cnas.Tensor var
function cnas.conv_block(x, weight, stride, padding, dilation, groups, relu) end

---See cnas.conv_block.
---@param weight cnas.Tensor
---@param stride? integer|integer[]
---@param padding? integer|integer[]
---@param dilation? integer|integer[]
---@param groups? integer
---@param relu? boolean
---@return cnas.Tensor z
---@return cnas.Tensor mean
---@return cnas.Tensor var
function Tensor:conv_block(weight, stride, padding, dilation, groups, relu) end

---@class cnas.pool_block.options
---@field kernel integer|integer[]
---@field stride? integer|integer[]  (default 1)
---@field padding? integer|integer[]  (default 0)
---@field max? boolean  (default true)
---@field relu? boolean  (default false)

---Largest in each window, or its mean without the padding.
---
---What follows the tensors may be given by position or in one table of names.
---@param x cnas.Tensor
---@param scale? cnas.Tensor
---@param shift? cnas.Tensor
---@param kernel integer|integer[]
---@param stride? integer|integer[]
---@param padding? integer|integer[]
---@param max? boolean
---@param relu? boolean
---@return cnas.Tensor z
---@return cnas.Tensor mean
---@return cnas.Tensor var
function cnas.pool_block(x, scale, shift, kernel, stride, padding, max, relu) end

---See cnas.pool_block.
---@param scale? cnas.Tensor
---@param shift? cnas.Tensor
---@param kernel integer|integer[]
---@param stride? integer|integer[]
---@param padding? integer|integer[]
---@param max? boolean
---@param relu? boolean
---@return cnas.Tensor z
---@return cnas.Tensor mean
---@return cnas.Tensor var
function Tensor:pool_block(scale, shift, kernel, stride, padding, max, relu) end

---(x * x_scale + x_shift) * x_keep + (y * y_scale + y_shift) * y_keep; keep (N) is a factor for each image, without gradient; without y the first term.
---@param x cnas.Tensor
---@param y? cnas.Tensor
---@param x_scale? cnas.Tensor
---@param x_shift? cnas.Tensor
---@param y_scale? cnas.Tensor
---@param y_shift? cnas.Tensor
---@param x_keep? cnas.Tensor
---@param y_keep? cnas.Tensor
---@return cnas.Tensor z
function cnas.add_block(x, y, x_scale, x_shift, y_scale, y_shift, x_keep, y_keep) end

---See cnas.add_block.
---@param y? cnas.Tensor
---@param x_scale? cnas.Tensor
---@param x_shift? cnas.Tensor
---@param y_scale? cnas.Tensor
---@param y_shift? cnas.Tensor
---@param x_keep? cnas.Tensor
---@param y_keep? cnas.Tensor
---@return cnas.Tensor z
function Tensor:add_block(y, x_scale, x_shift, y_scale, y_shift, x_keep, y_keep) end

---@class cnas.norm_factors.options
---@field count integer
---@field training? boolean  (default true)
---@field momentum? number  (default 0.1)
---@field eps? number  (default 1e-5)

---Scale = weight / sqrt(var + eps) and shift = bias - mean * scale, so that x * scale + shift is batch_norm of x with these statistics of `count` values; in training the running ones move towards them, else they are used.
---
---What follows the tensors may be given by position or in one table of names.
---@param mean cnas.Tensor
---@param var cnas.Tensor
---@param weight? cnas.Tensor
---@param bias? cnas.Tensor
---@param running_mean? cnas.Tensor
---@param running_var? cnas.Tensor
---@param count integer
---@param training? boolean
---@param momentum? number
---@param eps? number
---@return cnas.Tensor scale
---@return cnas.Tensor shift
function cnas.norm_factors(mean, var, weight, bias, running_mean, running_var, count, training, momentum, eps) end

---See cnas.norm_factors.
---@param var cnas.Tensor
---@param weight? cnas.Tensor
---@param bias? cnas.Tensor
---@param running_mean? cnas.Tensor
---@param running_var? cnas.Tensor
---@param count integer
---@param training? boolean
---@param momentum? number
---@param eps? number
---@return cnas.Tensor scale
---@return cnas.Tensor shift
function Tensor:norm_factors(var, weight, bias, running_mean, running_var, count, training, momentum, eps) end

---@class cnas.softmax.options
---@field dim? integer  (default -1)

---e^x / sum e^x along a dimension.
---
---What follows the tensors may be given by position or in one table of names.
---@param x cnas.Tensor
---@param dim? integer
---@return cnas.Tensor y
function cnas.softmax(x, dim) end

---See cnas.softmax.
---@param dim? integer
---@return cnas.Tensor y
function Tensor:softmax(dim) end

---@class cnas.log_softmax.options
---@field dim? integer  (default -1)

---Log of softmax along a dimension.
---
---What follows the tensors may be given by position or in one table of names.
---@param x cnas.Tensor
---@param dim? integer
---@return cnas.Tensor y
function cnas.log_softmax(x, dim) end

---See cnas.log_softmax.
---@param dim? integer
---@return cnas.Tensor y
function Tensor:log_softmax(dim) end

---@class cnas.cross_entropy.options
---@field smoothing? number  (default 0)

---Mean over the batch of -log softmax(x)[target], x (N,K), target (N) from 0; label smoothing e gives the target 1-e and each other class e/(K-1).
---
---What follows the tensors may be given by position or in one table of names.
---@param x cnas.Tensor
---@param target cnas.Tensor
---@param smoothing? number
---@return cnas.Tensor y
function cnas.cross_entropy(x, target, smoothing) end

---See cnas.cross_entropy.
---@param target cnas.Tensor
---@param smoothing? number
---@return cnas.Tensor y
function Tensor:cross_entropy(target, smoothing) end

---@class cnas.accuracy.options
---@field k? integer  (default 1)

---Fraction of rows of x (N,K) whose target is among the k largest (ties count by index).
---
---What follows the tensors may be given by position or in one table of names.
---@param x cnas.Tensor
---@param target cnas.Tensor
---@param k? integer
---@return cnas.Tensor y
function cnas.accuracy(x, target, k) end

---See cnas.accuracy.
---@param target cnas.Tensor
---@param k? integer
---@return cnas.Tensor y
function Tensor:accuracy(target, k) end

---@class cnas.dropout.options
---@field p number
---@field rng cnas.Rng

---Each element zeroed with probability p, the others divided by 1-p.
---
---What follows the tensors may be given by position or in one table of names.
---@param x cnas.Tensor
---@param p number
---@param rng cnas.Rng
---@return cnas.Tensor y
function cnas.dropout(x, p, rng) end

---See cnas.dropout.
---@param p number
---@param rng cnas.Rng
---@return cnas.Tensor y
function Tensor:dropout(p, rng) end

---@class cnas.drop_path.options
---@field p number
---@field rng cnas.Rng

---Each image (entry of the first dimension) zeroed with probability p, the others divided by 1-p.
---
---What follows the tensors may be given by position or in one table of names.
---@param x cnas.Tensor
---@param p number
---@param rng cnas.Rng
---@return cnas.Tensor y
function cnas.drop_path(x, p, rng) end

---See cnas.drop_path.
---@param p number
---@param rng cnas.Rng
---@return cnas.Tensor y
function Tensor:drop_path(p, rng) end

---@class cnas.fill_.options
---@field value number

---Every element becomes value.
---
---What follows the tensors may be given by position or in one table of names.
---@param x cnas.Tensor
---@param value number
---@return cnas.Tensor
function cnas.fill_(x, value) end

---See cnas.fill_.
---@param value number
---@return cnas.Tensor
function Tensor:fill_(value) end

---@class cnas.fill_uniform_.options
---@field low? number  (default 0)
---@field high? number  (default 1)
---@field rng cnas.Rng

---Uniform in [low, high).
---
---What follows the tensors may be given by position or in one table of names.
---@param x cnas.Tensor
---@param low? number
---@param high? number
---@param rng cnas.Rng
---@return cnas.Tensor
function cnas.fill_uniform_(x, low, high, rng) end

---See cnas.fill_uniform_.
---@param low? number
---@param high? number
---@param rng cnas.Rng
---@return cnas.Tensor
function Tensor:fill_uniform_(low, high, rng) end

---@class cnas.fill_normal_.options
---@field mean? number  (default 0)
---@field deviation? number  (default 1)
---@field rng cnas.Rng

---Normal with this mean and deviation.
---
---What follows the tensors may be given by position or in one table of names.
---@param x cnas.Tensor
---@param mean? number
---@param deviation? number
---@param rng cnas.Rng
---@return cnas.Tensor
function cnas.fill_normal_(x, mean, deviation, rng) end

---See cnas.fill_normal_.
---@param mean? number
---@param deviation? number
---@param rng cnas.Rng
---@return cnas.Tensor
function Tensor:fill_normal_(mean, deviation, rng) end

---@class cnas.accumulate_.options
---@field factor? number  (default 1)

---x becomes x + factor * y.
---
---What follows the tensors may be given by position or in one table of names.
---@param x cnas.Tensor
---@param y cnas.Tensor
---@param factor? number
---@return cnas.Tensor
function cnas.accumulate_(x, y, factor) end

---See cnas.accumulate_.
---@param y cnas.Tensor
---@param factor? number
---@return cnas.Tensor
function Tensor:accumulate_(y, factor) end

---@class cnas.sgd_step_.options
---@field lr number
---@field momentum? number  (default 0)
---@field weight_decay? number  (default 0)
---@field nesterov? boolean  (default false)
---@field grad_scale? number  (default 1)

---One SGD step as in PyTorch: g = grad_scale*grad + weight_decay*param; buffer = momentum*buffer + g; param -= lr * (nesterov ? g + momentum*buffer : buffer).
---
---What follows the tensors may be given by position or in one table of names.
---@param param cnas.Tensor
---@param grad cnas.Tensor
---@param momentum? cnas.Tensor
---@param lr number
---@param momentum? number
---@param weight_decay? number
---@param nesterov? boolean
---@param grad_scale? number
---@return cnas.Tensor
function cnas.sgd_step_(param, grad, momentum, lr, momentum, weight_decay, nesterov, grad_scale) end

---See cnas.sgd_step_.
---@param grad cnas.Tensor
---@param momentum? cnas.Tensor
---@param lr number
---@param momentum? number
---@param weight_decay? number
---@param nesterov? boolean
---@param grad_scale? number
---@return cnas.Tensor
function Tensor:sgd_step_(grad, momentum, lr, momentum, weight_decay, nesterov, grad_scale) end

---@class cnas.adam_step_.options
---@field lr number
---@field beta1? number  (default 0.9)
---@field beta2? number  (default 0.999)
---@field eps? number  (default 1e-8)
---@field weight_decay? number  (default 0)
---@field step integer
---@field grad_scale? number  (default 1)

---Step number `step` (from 1) of Adam, Kingma and Ba 2015, with L2 weight decay as in PyTorch: g = grad_scale*grad + weight_decay*param.
---
---What follows the tensors may be given by position or in one table of names.
---@param param cnas.Tensor
---@param grad cnas.Tensor
---@param mean cnas.Tensor
---@param square cnas.Tensor
---@param lr number
---@param beta1? number
---@param beta2? number
---@param eps? number
---@param weight_decay? number
---@param step integer
---@param grad_scale? number
---@return cnas.Tensor
function cnas.adam_step_(param, grad, mean, square, lr, beta1, beta2, eps, weight_decay, step, grad_scale) end

---See cnas.adam_step_.
---@param grad cnas.Tensor
---@param mean cnas.Tensor
---@param square cnas.Tensor
---@param lr number
---@param beta1? number
---@param beta2? number
---@param eps? number
---@param weight_decay? number
---@param step integer
---@param grad_scale? number
---@return cnas.Tensor
function Tensor:adam_step_(grad, mean, square, lr, beta1, beta2, eps, weight_decay, step, grad_scale) end

---A new stream. Other names give independent streams of the same seed.
---@param seed integer
---@param name? string
---@return cnas.Rng
function cnas.rng(seed, name) end

---In [low, high), by default [0, 1).
---@param low? number
---@param high? number
---@return number
function Rng:uniform(low, high) end

---A whole number in 0 … n-1.
---@param n integer
---@return integer
function Rng:integer(n) end

---Normal with mean 0 and deviation 1.
---@return number
function Rng:normal() end

---The numbers 1 … n in random order.
---@param n integer
---@return integer[]
function Rng:permutation(n) end

---The tensors that training moves, with their names in the list's field `names`.
---@return cnas.Tensor[]
function Module:parameters() end

---Everything that must be kept: a list of { name =, tensor =, buffer = }. The tensors are the module's own.
---@return table[]
function Module:state() end

---@class cnas.Module.load.options
---@field strict? boolean names and shapes must all fit, or nothing is loaded and an error (code "data") says what does not; else what fits is loaded, and the second result lists missing, unexpected and misshapen (default true)

---Takes over values from a table of tensors by name, or a list as `state` gives.
---@param tensors table
---@param options? cnas.Module.load.options
---@return cnas.Module
---@return table
function Module:load(tensors, options) end

---Training (the default) or, with false, evaluation: matters to batch norm, dropout, drop-path and auxiliary heads.
---@param on? boolean
---@return cnas.Module
function Module:train(on) end

---How many numbers all parameters have.
---@return integer
function Module:count() end

---Moves parameters to a type and a device; the tensors stay the same objects.
---@param ... string
---@return cnas.Module
function Module:to(...) end

---What one image costs, without computing: { parameters =, conv_macs =, linear_macs = }. `net:cost(arch, { height = 32, width = 32 })` for a supernet, `net:cost { height =, width = }` for a network, `m:cost { shape = { 1, 32, 32, 16 } }` for any other.
---@param ... any
---@return table
function Module:cost(...) end

---Sets the drop-path of a network, where given; returns the one that holds.
---@param probability? number
---@return number
function Module:drop_path(probability) end

---@class cnas.nn.conv2d.options
---@field inp integer channels read
---@field out integer channels written
---@field kernel? integer|integer[] size of the window (default 1)
---@field stride? integer|integer[] step of the window (default 1)
---@field padding? integer|integer[] zeros around the image (default 0)
---@field dilation? integer|integer[] distance of the window's taps (default 1)
---@field groups? integer channels in separate groups (default 1)
---@field bias? boolean whether a bias is added (default false)
---@field rng? cnas.Rng draws the weights

---2-d convolution, weights (KH,KW,inp/groups,out).
---@param options cnas.nn.conv2d.options
---@return cnas.Module
function cnas.nn.conv2d(options) end

---@class cnas.nn.batch_norm.options
---@field channels integer size of the last dimension
---@field affine? boolean a weight and a bias for each channel (default true)
---@field track? boolean running statistics, used in evaluation (default true)
---@field eps? number added to the variance (default 1e-5)
---@field momentum? number how fast the running statistics move (default 0.1)

---Batch normalisation over all but the last dimension.
---@param options cnas.nn.batch_norm.options
---@return cnas.Module
function cnas.nn.batch_norm(options) end

---@class cnas.nn.linear.options
---@field inp integer features read
---@field out integer features written
---@field bias? boolean whether a bias is added (default true)
---@field rng? cnas.Rng draws the weights

---x (N,inp) times weight (inp,out) plus bias.
---@param options cnas.nn.linear.options
---@return cnas.Module
function cnas.nn.linear(options) end

---@class cnas.nn.embedding.options
---@field rows integer how many
---@field width integer of each
---@field rng? cnas.Rng draws the weights

---Rows of a table by i64 indices from 0.
---@param options cnas.nn.embedding.options
---@return cnas.Module
function cnas.nn.embedding(options) end

---@class cnas.nn.lstm_cell.options
---@field inp integer features read
---@field hidden integer units
---@field rng? cnas.Rng draws the weights

---One step of an LSTM: `m(x, h, c)` gives the next h and c, all (N,hidden).
---@param options cnas.nn.lstm_cell.options
---@return cnas.Module
function cnas.nn.lstm_cell(options) end

---max(x, 0).
---@return cnas.Module
function cnas.nn.relu() end

---x.
---@return cnas.Module
function cnas.nn.identity() end

---@class cnas.nn.zero.options
---@field stride? integer step (default 1)

---Zeros of the shape that a layer of this stride would give.
---@param options? cnas.nn.zero.options
---@return cnas.Module
function cnas.nn.zero(options) end

---@class cnas.nn.max_pool.options
---@field kernel integer size of the window
---@field stride? integer step of the window (default 1)
---@field padding? integer around the image (default 0)

---The largest in each window; padding never wins.
---@param options cnas.nn.max_pool.options
---@return cnas.Module
function cnas.nn.max_pool(options) end

---@class cnas.nn.avg_pool.options
---@field kernel integer size of the window
---@field stride? integer step of the window (default 1)
---@field padding? integer around the image (default 0)

---The mean of each window; padding is not counted.
---@param options cnas.nn.avg_pool.options
---@return cnas.Module
function cnas.nn.avg_pool(options) end

---The mean of each channel: (N,H,W,C) to (N,C).
---@return cnas.Module
function cnas.nn.global_avg_pool() end

---@class cnas.nn.dropout.options
---@field p? number the probability (default 0.5)
---@field rng cnas.Rng draws what is zeroed

---In training zeroes each element with probability p and divides the others by 1-p.
---@param options cnas.nn.dropout.options
---@return cnas.Module
function cnas.nn.dropout(options) end

---@class cnas.nn.factorized_reduce.options
---@field inp integer channels read
---@field out integer channels written, an even number
---@field affine? boolean of the batch norm (default true)
---@field track? boolean of the batch norm (default true)
---@field rng? cnas.Rng draws the weights

---Half the height and width: two 1x1 convolutions of stride 2, one pixel apart, side by side, and batch norm.
---@param options cnas.nn.factorized_reduce.options
---@return cnas.Module
function cnas.nn.factorized_reduce(options) end

---A layer without weights that is a Lua function from a tensor to one of the same shape: an activation of your own, with its own gradient when it calls a `cnas.op`. It costs no multiply-adds.
---@param f function
---@return cnas.Module
function cnas.nn.apply(f) end

---One module behind the other.
---@param modules cnas.Module[]
---@return cnas.Module
function cnas.nn.sequential(modules) end

---Whether layers run as fused blocks (the default); with false every layer runs for itself, to compare. Returns what held before.
---@param on? boolean
---@return boolean
function cnas.nn.blocks(on) end

---@class cnas.optim.sgd.options
---@field lr number learning rate; may be left out where every group has one
---@field momentum? number of the velocity (default 0)
---@field nesterov? boolean Nesterov's momentum (default false)
---@field weight_decay? number L2 penalty (default 0)

---Stochastic gradient descent as in PyTorch. `parameters` is a list of tensors, as `m:parameters()` gives, or a list of groups { params = list, lr = …, … } with settings of their own.
---@param parameters table
---@param options? cnas.optim.sgd.options
---@return cnas.Optimizer
function cnas.optim.sgd(parameters, options) end

---@class cnas.optim.adam.options
---@field lr? number learning rate (default 0.001)
---@field beta1? number decay of the mean (default 0.9)
---@field beta2? number decay of the square (default 0.999)
---@field eps? number added to the root (default 1e-8)
---@field weight_decay? number L2 penalty (default 0)

---Adam (Kingma and Ba, 2015), with L2 weight decay as in PyTorch. Groups as for sgd.
---@param parameters table
---@param options? cnas.optim.adam.options
---@return cnas.Optimizer
function cnas.optim.adam(parameters, options) end

---@class cnas.Optimizer.step.options
---@field clip? number largest norm of all gradients together; 0: any (default 0)
---@field wait? boolean return numbers; false: tensors of one element. On a GPU nobody has then waited for them, and a loss or gradient that is not finite is the error of whatever waits next; its step has moved nothing. `run:log` takes them (default true)

---With a loss: computes its gradients, moves the parameters and frees the gradients. Without: uses the gradients that are there. Returns the loss and the norm of the gradients before clipping. A loss or gradient that is not finite is an error (code "not-finite") and nothing has moved.
---@param loss? cnas.Tensor
---@param options? cnas.Optimizer.step.options
---@return number|cnas.Tensor|nil
---@return number|cnas.Tensor
function Optimizer:step(loss, options) end

---The 2-norm of all gradients together.
---@return number
function Optimizer:grad_norm() end

---Removes the gradients.
function Optimizer:zero_grad() end

---The settings of each group, as copies.
---@return table[]
function Optimizer:groups() end

---`o:set { lr = 0.1 }` changes settings of all groups, `o:set(2, { … })` of one; nothing changes unless all of it is right.
---@param ... any
function Optimizer:set(...) end

---What has moved so far: a list of { name =, tensor = }.
---@return table[]
function Optimizer:state() end

---Gives back a state: by name, or a list as `state` gives.
---@param tensors table
function Optimizer:load(tensors) end

---From now on a step moves by the mean of all processes' gradients, each weighted by its share of the batch (`cnas.World:weigh`). Parameters that have a gradient nowhere stay as they are. `cnas.Run:keep` does this.
---@return cnas.Optimizer
function Optimizer:share() end

---Always lr.
---@param lr number
---@return function
function cnas.schedule.constant(lr) end

---From lr to 0 along half a cosine (Loshchilov and Hutter, ICLR 2017, without restarts).
---@param lr number
---@param epochs integer
---@return function
function cnas.schedule.cosine(lr, epochs) end

---Falls linearly towards 0 at the fifth epoch from the end; the last five fall linearly from lr/(epochs - 5) to 0.
---@param lr number
---@param epochs integer
---@return function
function cnas.schedule.linear(lr, epochs) end

---Before `rate`: epochs that rise linearly to its value at the first epoch after them. Of `all` epochs, when that is given, there must be one.
---@param rate function
---@param epochs integer
---@param all? integer
---@return function
function cnas.schedule.warmup(rate, epochs, all) end

---The eight operations of DARTS.
---@return cnas.Space
function cnas.space.darts() end

---The names of all built-in operations.
---@return string[]
function cnas.space.builtin() end

---The operations' names, in order.
---@return string[]
function Space:names() end

---The place of an operation, from 1; nil when it has none.
---@param name string
---@return integer?
function Space:index(name) end

---@class cnas.Space.build.options
---@field channels integer read and written
---@field stride? integer 1 or 2 (default 1)
---@field affine? boolean of its batch norms (default true)
---@field track? boolean running statistics (default true)
---@field supernet? boolean as a candidate of a supernet has it (default false)
---@field rng? cnas.Rng draws the weights

---The module of one operation.
---@param name string
---@param options cnas.Space.build.options
---@return cnas.Module
function Space:build(name, options) end

---From JSON, or from the Python text in which genotypes are published.
---@param text string
---@return cnas.Genotype
function cnas.genotype.parse(text) end

---Checked and copied from a plain table or a published name, with concats filled in.
---@param genotype table|string
---@return cnas.Genotype
function cnas.genotype.new(genotype) end

---A published one: see `cnas.genotype.published`.
---@param name string
---@return cnas.Genotype
function cnas.genotype.named(name) end

---The published names.
---@return string[]
function cnas.genotype.published() end

---As JSON.
---@param genotype table|string
---@return string
function cnas.genotype.json(genotype) end

---@class cnas.genotype.text.options
---@field style? string cnas or darts (default "cnas")

---As Python text.
---@param genotype table|string
---@param options? cnas.genotype.text.options
---@return string
function cnas.genotype.text(genotype, options) end

---The genotype itself; an error says what is wrong with it, or which operation the space lacks.
---@param genotype table|string
---@param space? cnas.Space
---@return table
function cnas.genotype.check(genotype, space) end

---As JSON.
---@return string
function Genotype:json() end

---@class cnas.Genotype.text.options
---@field style? string cnas or darts (default "cnas")

---As Python text, as `cnas.genotype.text`.
---@param options? cnas.Genotype.text.options
---@return string
function Genotype:text(options) end

---The genotype itself, or an error, as `cnas.genotype.check`.
---@param space? cnas.Space
---@return table
function Genotype:check(space) end

---The genotype that a published name (in any case, with - or _), a genotype file (JSON or Python text), a search's run folder (its last stage) or a table stands for, and a label.
---@param what string|table
---@return cnas.Genotype
---@return string
function cnas.arch(what) end

---@class cnas.supernet.options
---@field space cnas.Space the operations of every edge
---@field channels? integer of the first cells; each reduction doubles them (default 16)
---@field layers? integer cells; those at a third and two thirds reduce (default 8)
---@field nodes? integer inner nodes of a cell (default 4)
---@field classes? integer logits (default 10)
---@field in_channels? integer of the images (default 3)
---@field precision? string f32 or bf16: what images within the cells are kept in (default "f32")
---@field rng? cnas.Rng draws the weights

---A supernet: `net(x, arch)` gives logits (N,classes) of x (N,H,W,in_channels) computed with one architecture.
---@param options cnas.supernet.options
---@return cnas.Module
function cnas.supernet(options) end

---@class cnas.network.options
---@field genotype table|string or a published name
---@field space? cnas.Space for operations of your own
---@field channels? integer of the first cells (48 for ImageNet) (default 36)
---@field layers? integer cells (14 for ImageNet) (default 20)
---@field classes? integer logits (1000 for ImageNet) (default 10)
---@field in_channels? integer of the images (default 3)
---@field imagenet? boolean the stem for images of 224x224 (default false)
---@field auxiliary? boolean an auxiliary head at two thirds of the depth (default false)
---@field precision? string f32 or bf16 (default "f32")
---@field drop_path? number probability of drop-path, needs `noise` (default 0)
---@field noise? cnas.Rng draws the drop-path
---@field rng? cnas.Rng draws the weights

---The evaluation network of a genotype: `net(x)` gives logits and, in training with an auxiliary head, its logits too.
---@param options cnas.network.options
---@return cnas.Module
function cnas.network(options) end

---@class cnas.foresee.options
---@field make function builds the network, which gives logits and perhaps auxiliary logits
---@field batch integer images at a time
---@field height integer of an image
---@field width integer of an image
---@field channels? integer of an image (default 3)

---How many bytes tensors will hold at most while a network is trained, with all that is alive now; found from two steps on a part of a batch.
---@param options cnas.foresee.options
---@return integer
function cnas.foresee(options) end

---@class cnas.cost.network.options
---@field genotype table|string or a published name
---@field space? cnas.Space for operations of your own
---@field channels? integer of the first cells (48 for ImageNet) (default 36)
---@field layers? integer cells (14 for ImageNet) (default 20)
---@field classes? integer logits (1000 for ImageNet) (default 10)
---@field in_channels? integer of the images (default 3)
---@field imagenet? boolean the stem for images of 224x224 (default false)
---@field auxiliary? boolean an auxiliary head (default false)
---@field height? integer of the images (224 for ImageNet) (default 32)
---@field width? integer of the images; default: height

---Parameters and multiply-adds of a network without weights: { parameters =, conv_macs =, linear_macs = }. Options as for `cnas.network`.
---@param options cnas.cost.network.options
---@return table
function cnas.cost.network(options) end

---Writes a network's parameters and buffers with what is known about it, { genotype =, channels =, layers =, classes =, imagenet =, auxiliary =, … }, of which `cnas.model.open` makes the network again.
---@param path string
---@param net cnas.Module
---@param about table
function cnas.model.save(path, net, about) end

---@class cnas.model.open.options
---@field arch? string|table the cell, as for `cnas.arch`
---@field precision? string f32 or bf16
---@field channels? integer of the first cells
---@field layers? integer cells
---@field classes? integer logits
---@field in_channels? integer of the images
---@field imagenet? boolean the stem for ImageNet
---@field auxiliary? boolean an auxiliary head
---@field prefix? string under which name a PyTorch file has the tensors, as "model" or "ema.state"

---A network with its weights, for evaluation, and what is known about it. `what`: the folder of an evaluation, a safetensors file, a PyTorch .pth, or the name of a published model. What the file does not say is taken from the options; what it says is compared with them.
---@param what string
---@param options? cnas.model.open.options
---@return cnas.Module
---@return table
function cnas.model.open(what, options) end

---@class cnas.model.open_file.options
---@field arch? string|table the cell, as for `cnas.arch`
---@field precision? string f32 or bf16
---@field channels? integer of the first cells
---@field layers? integer cells
---@field classes? integer logits
---@field in_channels? integer of the images
---@field imagenet? boolean the stem for ImageNet
---@field auxiliary? boolean an auxiliary head
---@field prefix? string under which name a PyTorch file has the tensors, as "model" or "ema.state"

---The same for a file alone, of any format. `about`, when given, says what the network is: the file is not asked.
---@param path string
---@param options? cnas.model.open_file.options
---@param about? table
---@return cnas.Module
---@return table
function cnas.model.open_file(path, options, about) end

---The same as `cnas.pretrained`.
---@param name string
---@param options? table
---@return cnas.Module
---@return table
function cnas.pretrained.open(name, options) end

---@class cnas.pretrained.fetch.options
---@field folder? string of the files
---@field url? string another place to get it from
---@field progress? function (bytes, total), which may return false to stop

---The path of a published model's file, fetched and checked by SHA-256 when it is not there.
---@param name string
---@param options? cnas.pretrained.fetch.options
---@return string
function cnas.pretrained.fetch(name, options) end

---The folder of the files.
---@return string
function cnas.pretrained.folder() end

---@class cnas.model.read.options
---@field prefix? string under which name a PyTorch file has the tensors, as "model" or "ema.state"

---The tensors of a file by name, in PyTorch's layout, and its metadata: the texts of a safetensors file, or what a PyTorch file has beside the tensors. There, a checkpoint's tensors are looked for under the usual names (state_dict, model, …). "module." in front of all names is taken off; the metadata's `note` tells.
---@param path string
---@param options? cnas.model.read.options
---@return table
---@return table
function cnas.model.read(path, options) end

---Puts tensors in PyTorch's names and layouts into a network. All must fit, or nothing is put anywhere and the error (code "data") has the lists missing, unexpected and misshapen.
---@param net cnas.Module
---@param tensors table
---@param where? string
function cnas.model.fill(net, tensors, where) end

---The rows that a function of one tensor runs: { rows = { { row =, at =, inputs =, outputs =, attributes = }, … }, values =, names =, input =, output = }; inputs and outputs are indices of values, names those of the module.
---@param f function|cnas.Module
---@param x cnas.Tensor
---@param module? cnas.Module
---@return table
function cnas.trace(f, x, module) end

---@class cnas.latency.time.options
---@field warmup? integer calls in front that do not count (default 3)
---@field runs? integer at least so many calls (default 5)
---@field most? integer at most so many (default 1000)
---@field seconds? number as many in between as fit in (default 0.2)

---The same of any function without arguments.
---@param f function
---@param options? cnas.latency.time.options
---@return number
---@return number
---@return number
function cnas.latency.time(f, options) end

---The middle one; the list is sorted.
---@param list number[]
---@return number
function cnas.latency.median(list) end

---Images on the device of the network's weights.
---@param x cnas.Tensor
---@param net cnas.Module|function
---@return cnas.Tensor
function cnas.latency.placed(x, net) end

---Waits until a result is there, and lets go of it.
---@param y cnas.Tensor
function cnas.latency.finish(y) end

---@class cnas.profile.options
---@field layers integer cells of the network
---@field genotype? table of an evaluation network
---@field arch? table the path of a supernet
---@field space? cnas.Space of a supernet
---@field batch? integer images in a batch (default 16)
---@field height? integer of the images (default 32)
---@field width? integer of the images; as their height by default
---@field channels? integer of the images (default 3)
---@field classes? integer of the network (default 10)
---@field train? boolean measure a training step too (default true)
---@field runs? integer calls of which medians are taken (default 5)
---@field warmup? integer calls in front that do not count (default 2)

---Parameters, multiply-adds, time and memory of a network by part. Weights and statistics are left as they are. Returns { batch =, height =, width =, device =, threads =, isa =, parameters =, conv_macs =, linear_macs =, forward = { ms =, least_ms =, most_ms =, bytes_peak =, rows_ms = }, train = the same, parts = { { root =, part =, cell =, kind =, operation =, from =, to =, parameters =, macs =, forward_ms =, train_forward_ms =, train_backward_ms =, bytes_made =, bytes_peak = }, … }, operations =, cells = }; the last two are sums of parts by name. Of a network on a GPU each row is waited for when it is timed, and bytes_peak, which is of the CPU's memory, says nothing. Layers run as blocks: the last batch normalisation of an operation is done by the sum of the node that reads it, and inputs of cells that are made of one image together are laid to the first of them.
---@param net cnas.Module
---@param options cnas.profile.options
---@return table
function cnas.profile(net, options) end

---@class cnas.Module.costs.options
---@field height? integer of the image (default 32)
---@field width? integer of the image; as its height by default

---What each module that a call of a network or supernet runs adds to its cost for one image: a list of { at =, kind =, parameters =, conv_macs =, linear_macs =, shape = }. A module comes behind those within it, which it includes; shape is what it gives. `arch` is the path of a supernet, where an operation used twice on an edge comes twice; a network takes the options alone.
---@param arch? table
---@param options? cnas.Module.costs.options
---@return table[]
function Module:costs(arch, options) end

---The rows that f() runs: a list of { at =, row =, backward =, calls =, seconds =, bytes_made =, bytes_peak = } with a field bytes_peak. `at` is the name of the innermost module that was called, in `module`: "" for itself, nil for none of it. Gradients are laid to the module whose they are. bytes_made are of the results, bytes_peak is the most that was in use while one of the calls ran.
---@param f function
---@param module? cnas.Module
---@return table[]
function cnas.timed_rows(f, module) end

---@class cnas.places.options
---@field layers integer cells of the network
---@field genotype? table of an evaluation network
---@field space? cnas.Space of a supernet

---A function from a place of a network to what stands there: "cells.3._ops.2.op" to { root = "cells.3._ops.2", part = "operation", cell = 3, kind = "normal", operation = "sep_conv_3x3", from = 0, to = 3 }. Parts are stem, input (of a cell), operation, node (a cell's sums), pool, classifier and auxiliary; nil for anything else.
---@param options cnas.places.options
---@return function
function cnas.places(options) end

---What is given to `cnas.options`, with the options model, arch, channels, layers, classes and imagenet in front.
---@param spec table
---@return table
function cnas.subject.declare(spec) end

---The network that such options ask for, in evaluation, and what is known about it: genotype, channels, layers, classes, imagenet, size, fresh (its weights are not from a file), and what its file says.
---@param opt table
---@return cnas.Module
---@return table
function cnas.subject.open(opt) end

---What is known of it: the fields of an entry of `cnas.kernel.list`, and { parameters, log }: a list of its parameters, as "const float *x", and what the compiler said that was no error.
---@return table
function Kernel:facts() end

---The kernels of the GPU's module and those that were made: a list of { name, row, file, registers, shared_memory, local_memory, block, dynamic_memory, occupancy, launches, timed, seconds }. row is the operation that launched a kernel of the module first, file the text of one of your own; registers and local_memory (bytes) are of a thread, shared_memory (bytes, without dynamic_memory) of a block; block (threads) and dynamic_memory are those of its last launch, occupancy the share of a multiprocessor's warps that run at once with them; launches count from the start of the program. With f, f() is called and each launch timed by two events: timed is their number, seconds their sum, of which a launch takes some microseconds at least. Fields that are not known are nil: block, dynamic_memory and occupancy of a kernel that never ran; and where the CPU plays the GPU (tests/simt) registers, memory and occupancy, while kernels that never ran are missing.
---@param f? function
---@return table[]
function cnas.kernel.list(f) end

---@class cnas.data.load.options
---@field root? string folder of the files (default "data")
---@field split? number the part of the training set that is trained on; the rest is for validation (default 1)
---@field seed? integer draws the split (default 0)
---@field train_images? integer how many to use at all
---@field test_images? integer how many to use at all
---@field download? boolean fetch missing files (default false)
---@field url? string from where; known for the named sets
---@field md5? string their checksum; known for the named sets
---@field progress? function (bytes, total), which may return false to stop the download
---@field max_bad? integer of photographs: files of a set that may turn out bad; they are left out (default 0)
---@field only? string of photographs: "train" or "test" is all that is wanted; the rest is nil and need not be there

---Training, validation and test set of a dataset in `cnas.data.sets`.
---
---Photographs are folders with one folder for each class, in root/train and root/val: "imagenet", and "folder" for any others.
---@param name string
---@param options? cnas.data.load.options
---@return cnas.Dataset
---@return cnas.Dataset
---@return cnas.Dataset
function cnas.data.load(name, options) end

---Called for a file that a loader left out; prints on the standard error output. Put a function of yours there to hear of it instead.
---@param message string
function cnas.data.on_bad(message) end

---@class cnas.data.loader.options
---@field dataset cnas.Dataset of which
---@field batch integer images in a batch
---@field seed? integer of order and augmentation (default 0)
---@field stream? string another name is another order (default "train")
---@field pass? integer number of the pass (default 1)
---@field start? integer the batch to begin with (default 1)
---@field shuffle? boolean in random order (default false)
---@field augment? boolean|table true: crop 4 and flip; or { crop =, flip =, cutout = }; for photographs see below
---@field drop_last? boolean leave out a last batch that is not whole (default false)
---@field device? string where batches are wanted. On a GPU images of one size in memory live there from then on, and are augmented there, the same to the bit; photographs are sent while it goes on (default "cpu")
---@field threads? integer that prepare batches, 1, or of photographs `cnas.threads()`; 0: the caller does
---@field shard? integer the part of every batch that is ours (default 1)
---@field shards? integer of so many, which together read what one loader would (default 1)
---@field on_bad? function (message), called for a file that is left out because it cannot be decoded; default `cnas.data.on_bad`

---An iterator over the batches of one pass, for a `for` loop: x (N,H,W,C) f32, normalised, and y (N) i64. What it gives is a function of seed, stream and pass alone.
---
---Photographs become squares. `augment = false` makes the shorter side 256 and takes the middle 224; `true` trains as published for ImageNet: a random part, resized to 224 (RandomResizedCrop), colour jitter, flip. A table changes that: `{ size = 224, scale = { 0.08, 1 }, ratio = { 3/4, 4/3 }, flip = true, jitter = { 0.4, 0.4, 0.4, 0.2 }, cutout = 0, exact = false }`, or with `resize = 256` the evaluation. Bytes are those of PIL and torchvision; in training a JPEG is decoded at a fraction of its size where the part is four times larger than needed, unless `exact`.
---@param options cnas.data.loader.options
---@return cnas.Loader
function cnas.data.loader(options) end

---The bytes of image i: u8 (H,W,C). Photographs have sizes of their own.
---@param i integer
---@return cnas.Tensor
function Dataset:image(i) end

---Where the file of a photograph is; nil for images that are in memory.
---@param i integer
---@return string|nil
function Dataset:path(i) end

---What was said of the files that could not be decoded so far, from the from-th on.
---@param from? integer
---@return string[]
function Dataset:bad(from) end

---Its class, 0 … classes-1.
---@param i integer
---@return integer
function Dataset:label(i) end

---Those images in this order, sharing their pixels.
---@param indices integer[]
---@return cnas.Dataset
function Dataset:subset(indices) end

---Two datasets without an image in common, drawn from the seed; of the first `use` of the drawn order, where given.
---@param fraction number
---@param seed integer
---@param use? integer
---@return cnas.Dataset
---@return cnas.Dataset
function Dataset:split(fraction, seed, use) end

---Seconds that the caller has waited for batches.
---@return number
function Loader:waited() end

---Of the batch given last: the images that are this shard's own, and those of all shards.
---@return integer
---@return integer
function Loader:share() end

---Ends its threads; the end of a `for` loop does so too.
function Loader:close() end

---Drawn images of ten kinds of shapes, 32x32x3: "train" or "test".
---@param seed integer
---@param set string
---@param count integer
---@return cnas.Dataset
function cnas.datasets.shapes(seed, set, count) end

---@class cnas.datasets.cifar.options
---@field download? boolean fetch missing files (default false)
---@field url? string from where
---@field md5? string checksum of the archive
---@field progress? function (bytes, total), which may return false to stop

---CIFAR-10 or CIFAR-100 from its binary files in `root`: training and test set.
---@param classes integer
---@param root string
---@param options? cnas.datasets.cifar.options
---@return cnas.Dataset
---@return cnas.Dataset
function cnas.datasets.cifar(classes, root, options) end

---@class cnas.datasets.folder.options
---@field root string the folder of the class folders
---@field name? string of the dataset (default "folder")
---@field classes? cnas.Dataset a dataset of folders whose classes count, by name
---@field max_bad? integer files that may turn out bad (default 0)
---@field may_be_empty? boolean class folders without an image are no error (default false)

---The JPEG and PNG files of class folders: a class is a folder of `root`, its number the rank of its name. What a file holds is seen when it is decoded, its extension means nothing.
---@param options cnas.datasets.folder.options
---@return cnas.Dataset
function cnas.datasets.folder(options) end

---Decodes files of a dataset of class folders, on all threads: for each a table as `cnas.image.inspect` gives, with `bad` = why when it cannot be decoded.
---@param dataset cnas.Dataset
---@param first integer
---@param count integer
---@return table
function cnas.datasets.survey(dataset, first, count) end

---The same as `cnas.data.loader`.
---@param options cnas.data.loader.options
---@return cnas.Loader
function cnas.datasets.loader(options) end

---The same as `cnas.sampler`.
---@param options cnas.sampler.options
---@return cnas.Sampler
function cnas.sampler.new(options) end

---Makes a sampler of a table of checked options: for who makes one of their own.
---@param sampler table
---@return table
function cnas.sampler.prepare(sampler) end

---Opens the first `nodes` inner nodes and these operations, a list of names or how many of the space. A stage of a curriculum may be given whole.
---@param nodes integer|table
---@param operations? table|integer
---@return cnas.Sampler
function Sampler:open(nodes, operations) end

---An architecture of choices that are uniform among what may be chosen.
---@return cnas.Genotype
function Sampler:sample_uniform() end

---Whether an architecture could be drawn: it is open, and within guards and limits.
---@param arch table
---@return boolean
function Sampler:allows(arch) end

---A neighbour, as regularized evolution mutates: in one cell, another operation or another source for one input of a node.
---@param arch table
---@return cnas.Genotype
function Sampler:mutate(arch) end

---Everything that a run must keep.
---@return table[]
function Sampler:state() end

---Gives back a state, by name.
---@param state table
function Sampler:load(state) end

---The same as `cnas.controller`.
---@param options cnas.controller.options
---@return cnas.Controller
function cnas.controller.new(options) end

---An architecture from the networks, its log-probability and entropy (in the graph), and their parts by cell: `parts.normal.logp`, `.node_entropy`, `.op_entropy`.
---@return cnas.Genotype
---@return cnas.Tensor
---@return cnas.Tensor
---@return table
function Controller:sample() end

---The entropies in the parts of a sample, of the choices of nodes and of operations in each cell, as numbers by the names under which a run logs them.
---@param parts table
---@return table
function Controller:entropies(parts) end

---The same for an architecture that is given; one that cannot be chosen now is an error.
---@param arch table
---@return cnas.Genotype
---@return cnas.Tensor
---@return cnas.Tensor
---@return table
function Controller:evaluate(arch) end

---The tensors that an optimizer moves, with their `names`.
---@return cnas.Tensor[]
function Controller:parameters() end

---Everything that a run must keep.
---@return table[]
function Controller:state() end

---Gives back a state, by name.
---@param state table
function Controller:load(state) end

---The same as `cnas.costs`.
---@param options cnas.costs.options
---@return cnas.Costs
function cnas.costs.new(options) end

---Stage i opens the first i operations on all nodes. `options.nodes` nodes, order drawn from `options.seed`, beginning with `options.base` (sep_conv_3x3).
---@param space cnas.Space
---@param options table
---@return table[]
function cnas.curriculum.op(space, options) end

---Stage i opens the first i inner nodes with all operations.
---@param space cnas.Space
---@param options table
---@return table[]
function cnas.curriculum.node(space, options) end

---One stage with everything open: ENAS.
---@param space cnas.Space
---@param options table
---@return table[]
function cnas.curriculum.fix(space, options) end

---The names of the operations in the order in which they open.
---@param space cnas.Space
---@param seed integer
---@param base? string
---@return string[]
function cnas.curriculum.order(space, seed, base) end

---Any schedule: `open(i, order, nodes)` returns how many inner nodes and which operations stage i opens, and its name; nil ends the list.
---@param space cnas.Space
---@param options table
---@param open function
---@return table[]
function cnas.curriculum.stages(space, options, open) end

---Calling it with a number moves it and returns it: `local advantage = reward - baseline(reward)`. The first number is taken as it is.
---@param decay number
---@return cnas.MovingAverage
function cnas.metric.moving_average(decay) end

---For a run to keep.
---@return table[]
function MovingAverage:state() end

---Gives back a state.
---@param state table
function MovingAverage:load(state) end

---A new one, of nothing.
---@return cnas.Mean
function cnas.metric.mean() end

---One more number.
---@param number number
---@param weight? number
function Mean:add(number, weight) end

---The mean; nil before the first number.
---@return number?
function Mean:value() end

---For a run to keep.
---@return table[]
function Mean:state() end

---Gives back a state.
---@param state table
function Mean:load(state) end

---Calling it with a number, and a table of numbers that belong to it, says whether it is larger than all before.
---@return cnas.Best
function cnas.metric.best() end

---For a run to keep.
---@return table[]
function Best:state() end

---Gives back a state.
---@param state table
function Best:load(state) end

---Kendall's tau-b of two lists: 1 where they order everything alike, -1 in reverse; nil where a list has no two different numbers.
---@param a number[]
---@param b number[]
---@return number?
function cnas.metric.kendall(a, b) end

---Spearman's rank correlation of two lists; nil where a list has no two different numbers.
---@param a number[]
---@param b number[]
---@return number?
function cnas.metric.spearman(a, b) end

---Mean and standard deviation (n - 1) of a list.
---@param list number[]
---@return number
---@return number
function cnas.metric.spread(list) end

---The same as `cnas.population`.
---@param options cnas.population.options
---@return cnas.Population
function cnas.population.new(options) end

---Whether there are as many as there may be.
---@return boolean
function Population:full() end

---A new individual; beyond `size` the oldest leaves.
---@param individual any
---@param fitness number
function Population:add(individual, fitness) end

---The fittest of `sample` drawn members, and its fitness.
---@return any
---@return number
function Population:parent() end

---Mean fitness of the living.
---@return number
function Population:mean() end

---For a run to keep.
---@return table[]
function Population:state() end

---Gives back a state.
---@param state table
function Population:load(state) end

---The six operations (1 … 5) that an architecture string names; nil and why when it is none.
---@param text string
---@return integer[]?
---@return string?
function cnas.nasbench201.parse(text) end

---Reads a table. What the file lacks or has too much is an error of code "data" that names the line.
---@param path string
---@return cnas.NasBench201
function cnas.nasbench201.open(path) end

---The row of an architecture: six operations, or its string.
---@param arch integer[]|string
---@return integer
function NasBench201:row(arch) end

---The six operations of a row.
---@param row integer
---@return integer[]
function NasBench201:choices(row) end

---The string of a row's architecture.
---@param row integer
---@return string
function NasBench201:text(row) end

---An architecture drawn uniformly.
---@param rng cnas.Rng
---@return integer[]
function NasBench201:sample(rng) end

---Another operation on one edge, both drawn uniformly.
---@param choices integer[]
---@param rng cnas.Rng
---@return integer[]
function NasBench201:mutate(choices, rng) end

---@class cnas.NasBench201.task.options
---@field budget? number seconds (default 20000)
---@field reward? string the column that is the reward (default "c10_valid_12")

---One search on a simulated clock: each query costs the time that its training would have taken.
---@param options? cnas.NasBench201.task.options
---@return cnas.NasBench201.Task
function NasBench201:task(options) end

---Whether there is time for another query; the last one may run over.
---@return boolean
function NasBench201_Task:open() end

---The reward of an architecture, in percent; notes the best so far.
---@param choices integer[]
---@return number
function NasBench201_Task:query(choices) end

---The same as `cnas.oneshot`.
---@param opt table
---@return cnas.OneShot
function cnas.oneshot.new(opt) end

---One pass over the training split: an architecture for each batch, drawn uniformly or by `sample`.
---@param sample? function
function OneShot:train(sample) end

---Measures an architecture on the validation split. Its reward is noted in the front, among the finalists and in the epoch's means, and told to `each(arch, reward)`. Several processes measure one each at a time, and all note all.
---@param arch table
---@param each? function
function OneShot:measure(arch, each) end

---The last choice: the best of the finalists and its accuracy; writes the genotype, drawings and the front.
---@param stage table
---@return cnas.Genotype
---@return number
function OneShot:derive(stage) end

---The same as `cnas.score`.
---@param options cnas.score.options
---@return cnas.Score
function cnas.score.new(options) end

---The fraction of the first images that a path classifies rightly, and how many they were.
---@param net cnas.Module
---@param arch table
---@param dataset cnas.Dataset
---@param batch integer
---@param images integer
---@return number
---@return integer
function cnas.score.accuracy_of(net, arch, dataset, batch, images) end

---Forgets what was measured: the weights have changed.
function Score:forget() end

---The same as `cnas.finalists`.
---@param size integer
---@return cnas.Finalists
function cnas.finalists.new(size) end

---It is among the finalists if it is better than the worst of them.
---@param arch table
---@param reward number
function Finalists:add(arch, reward) end

---The best reward so far and its architecture.
---@return number?
---@return cnas.Genotype|nil
function Finalists:best() end

---For a run to keep.
---@return table[]
function Finalists:state() end

---Gives back a state.
---@param state table
function Finalists:load(state) end

---The same as `cnas.pareto`.
---@param aims table
---@return cnas.Pareto
function cnas.pareto.new(aims) end

---Adds an item, which is whatever JSON can say; true when nobody there is as good in everything. Those that it beats leave.
---@param item any
---@param values table
---@return boolean
function Pareto:add(item, values) end

---The members { item =, values = }, sorted by the value with that name, the best first.
---@param name? string
---@return table[]
function Pareto:list(name) end

---Writes pareto.json into the run's folder.
---@param run cnas.Run
function Pareto:write(run) end

---For a run to keep.
---@return table[]
function Pareto:state() end

---Gives back a state.
---@param state table
function Pareto:load(state) end

---@class cnas.Costs.reward.options
---@field parameters? number a target
---@field macs? number a target
---@field latency? number a target, in milliseconds
---@field price? number the exponent (default 0.07)

---A function of accuracy and architecture: accuracy times (cost / target) ^ -price for each target given, as in MnasNet (Tan et al., CVPR 2019).
---@param options? cnas.Costs.reward.options
---@return function
function Costs:reward(options) end

---What a Pareto set of accuracy and these costs aims at.
---@return table
function Costs:aims() end

---Milliseconds of one image through the architecture's network, which is built for it.
---@param arch table
---@return number
function Costs:measure_latency(arch) end

---The costs that a recipe with the options `cnas.declared.costs` means; with `paid`, the reward of its targets, and `accept`, which keeps to --max-latency (nil without it).
---@param opt table
---@param space cnas.Space
---@param classes integer
---@return cnas.Costs
function cnas.costs.declared(opt, space, classes) end

---Other defaults, and `about`, for the options that are read next: a recipe that is another one with other settings says them and then runs it, as recipes/enas.lua does.
---@param values table
function cnas.options.defaults(values) end

---The run folder that the options mean.
---@param opt table
---@return string
function cnas.options.folder(opt) end

---Runs the recipe words[0] with the command line `words` for `opt.seeds` seeds, and prints what they say together.
---@param opt table
---@param words string[]
---@param folder string
---@param seed_given? boolean
function cnas.seeds.run(opt, words, folder, seed_given) end

---What the runs in folder/seed-S say together: { runs =, spread = { NAME = { mean =, deviation =, count = } } }, and the names; also written to folder/seeds.json.
---@param folder string
---@param first integer
---@param count integer
---@return table
---@return string[]
function cnas.seeds.summary(folder, first, count) end

---A table with the entries of both: those of `more` come first.
---@param t table
---@param more table
---@return table
function cnas.args.with(t, more) end

---Loops over architectures 1 … count that are measured one after the other, each a step of the run: it saves and stops between two of them.
---@param count integer
---@return function
function Run:candidates(count) end

---The same as `cnas.options`.
---@param spec table
---@return table
function cnas.options.read(spec) end

---The options from a list of words. When the help was asked for: nil and its text.
---@param spec table
---@param words string[]
---@param script? string
---@return table?
---@return string?
function cnas.options.parse(spec, words, script) end

---The path of the recipe that read these options.
---@param options table
---@return string?
function cnas.options.script(options) end

---All values as a plain table for config.json, the preset's name, and where values are from that are no defaults: "given" on the command line, or "preset".
---@param options table
---@return table
---@return string?
---@return table
function cnas.options.record(options) end

---Makes the options those of a recorded run in the folder `where`. One that was given and would change what is computed is refused.
---@param options table
---@param record table
---@param where string
function cnas.options.restore(options, record, where) end

---What differs between two runs, as `cnas.folder.read` gives them: { same, a, b, options, machine, sources, changes, numbers, results }, which `cnas diff` prints. `same` is whether nothing differs that counts: not times, threads, nor where a run lies.
---@param a table
---@param b table
---@return table
function cnas.compare(a, b) end

---The run of these options (`out`, `resume`, `replay`, `overwrite`, `seed`, `threads`, `save_every`, `keep`, `color` are in every recipe): a new one, or the one to be resumed.
---@param options table
---@return cnas.Run
function cnas.run.open(options) end

---Objects to be saved, by name: anything with state() and load(), and random streams. Resuming, they get their state back here: call it when they are made and before the first loop. Of several processes all begin with rank 0's state, streams go on in a part of their own on each, and optimizers average gradients over all.
---@param objects table
function Run:keep(objects) end

---Loops over the stages of a curriculum, or any list. After the last one the run is finished.
---@param list table[]
---@return function
function Run:stages(list) end

---Loops over the epochs 1 … count of a phase; each ends with a line of the means of what was logged.
---@param name string
---@param count integer
---@return function
function Run:epochs(name, count) end

---@class cnas.Run.batches.options
---@field augment? boolean|table as for `cnas.data.loader` (default true)
---@field shuffle? boolean in random order (default true)
---@field drop_last? boolean leave out a last batch that is not whole (default false)
---@field accumulate? integer batches to a step (default 1)

---Loops over one pass of a dataset: x (N,H,W,C) f32, y (N) i64. Each pass of a run draws its own order and augmentation. With `accumulate` several batches make one step: then come, behind x and y, the batch's share of the step's images and whether it is the step's last, and the gradients of share * loss, summed over a step, are those of one large batch. A run is saved and stopped between steps alone. Several processes share the pass out, each image to one; `batch` is what each of them gets at a time.
---@param dataset cnas.Dataset
---@param batch integer
---@param options? cnas.Run.batches.options
---@return function
function Run:batches(dataset, batch, options) end

---Adds numbers, or tensors of one element, to the epoch's means, weighted by the images of the present batch. A number that is not finite is an error. One whose name has a slash is for the record alone: it is not printed. Tensors on a GPU are not waited for: they are read when a mean is wanted.
---@param values table
function Run:log(values) end

---Counts the operations and edges of an architecture among those chosen in this epoch, which its line in metrics.jsonl has as `chosen` and the report draws; returns the architecture.
---@param arch table
---@return table
function Run:chose(arch) end

---The means, by name, of what was logged in the present epoch so far, on all processes; all ask at the same place.
---@return table
function Run:means() end

---The mean of a number over all processes, weighted by their images in the present batch.
---@param number number
---@return number
function Run:mean(number) end

---What rank 0 finds in f(), a table that JSON can hold, on all processes; the others do not call it.
---@param f function
---@return table
function Run:told(f) end

---The numbers f(item) for the items of a list, shared out over the processes: each is found by one, all get all.
---@param list table
---@param f function
---@return number[]
function Run:divide(list, f) end

---Prints a line that stays.
---@param text string
function Run:say(text) end

---The cell that `what` stands for and its label, as `cnas.arch`. The run keeps it in genotypes/cell.json, drawn, and takes that one when it is resumed.
---@param what string|table
---@return cnas.Genotype
---@return string
function Run:arch(what) end

---@class cnas.Run.announce.options
---@field batch integer images at a time
---@field height integer of an image
---@field width integer of an image
---@field accumulate? integer batches to a step (default 1)

---Says how large the networks are that `make(rng)` builds, and how much memory training them will take: `{ parameters =, conv_macs =, linear_macs =, memory = }`, auxiliary heads left out.
---@param label string
---@param make function
---@param options cnas.Run.announce.options
---@return table
function Run:announce(label, make, options) end

---@class cnas.Run.init.options
---@field arch? string|table the cell of a file that does not say it
---@field new_classifier? boolean classifiers stay as they were drawn, for other classes (default false)

---Gives the network of a run that begins the weights of another, as `cnas.model.open` finds it. An auxiliary head that is not there stays as it was drawn. A resumed run has weights of its own: nothing happens.
---@param net cnas.Module
---@param what string
---@param options cnas.Run.init.options
function Run:init(net, what, options) end

---Writes the network as weights/NAME.safetensors in the run's folder, as `cnas.model.save`.
---@param name string
---@param net cnas.Module
---@param about table
function Run:save_model(name, net, about) end

---The end: writes summary.json, with `results`, and says so. False when the run was complete before. A loop over stages ends with it by itself.
---@param results? table
---@return boolean
function Run:finish(results) end

---@class cnas.Run.derive.options
---@field rounds? integer how often the best is chosen; the best of these is returned (default 3)
---@field samples? integer from so many (default 10)
---@field images? integer measured on so many (default 10000)
---@field batch? integer at a time (default 96)
---@field compare_uniform? boolean also the mean accuracy of uniform samples (default false)
---@field score? cnas.Score what measures them instead
---@field reward? function of accuracy and architecture, by which they are chosen
---@field costs? cnas.Costs recorded with the chosen one
---@field front? cnas.Pareto to which they are added, and which is written to pareto.json

---The best of the architectures that a controller proposes at the end of a stage, by accuracy on the validation set, with that accuracy. Writes genotypes/stage-N.json and drawings.
---@param stage table
---@param net cnas.Module
---@param controller table
---@param valid cnas.Dataset
---@param test cnas.Dataset
---@param options? cnas.Run.derive.options
---@return cnas.Genotype
---@return number
function Run:derive(stage, net, controller, valid, test, options) end

---Where the run is, in words: stage, epoch, step.
---@return string
function Run:place() end

---Saves everything now.
function Run:save() end

---Saves when it is time (or `now`), lets in who pressed Ctrl-C or is attached, and stops when the user asked for it. The loops call it, between two batches.
---@param now? boolean
function Run:pause(now) end

---Ends the run, as :stop does; the newest checkpoint is where it goes on.
function Run:stop() end

---What is in a run's folder: `kind` ("search", "evaluation", "run"), `state` ("complete", "running", "stopped"), `options`, `machine`, `epochs`, `stages` with their genotypes, `cell`, `front`, `changes` made by hand, and more (lua/cnas/folder.lua lists it). Nothing in the folder is trusted; what could not be read is told in `problems`. An error when there is no run.
---@param path string
---@return table
function cnas.folder.read(path) end

---The run folders that a path means: its own, or those of --seeds in it.
---@param path string
---@return string[]
function cnas.folder.find(path) end

---The content; a file of more than `limit` bytes (1 GiB) is an error.
---@param path string
---@param limit? integer
---@return string
function cnas.file.read(path, limit) end

---Creates or replaces the file, wholly or not at all, and on the disk when it returns.
---@param path string
---@param text string
function cnas.file.write(path, text) end

---Adds to a file, whole or not at all, and on the disk when it returns.
---@param path string
---@param text string
function cnas.file.append(path, text) end

---A copy, which replaces what was there.
---@param from string
---@param to string
function cnas.file.copy(from, to) end

---Another name, on the same disk.
---@param from string
---@param to string
function cnas.file.rename(from, to) end

---Cuts the file to a length.
---@param path string
---@param bytes integer
function cnas.file.truncate(path, bytes) end

---"file", "folder", "other" or false.
---@param path string
---@return string|boolean
function cnas.file.exists(path) end

---Bytes of a file.
---@param path string
---@return integer
function cnas.file.size(path) end

---Removes a file or an empty folder; whether there was one.
---@param path string
---@return boolean
function cnas.file.remove(path) end

---Removes a folder with all that is in it.
---@param path string
function cnas.file.remove_tree(path) end

---Makes a folder and those above it, where they are missing.
---@param path string
function cnas.file.mkdir(path) end

---The names in a folder, sorted.
---@param folder string
---@return string[]
function cnas.file.list(folder) end

---Removes temporary files that a killed process has left; how many.
---@param folder string
---@return integer
function cnas.file.sweep(folder) end

---Bytes that may still be written there.
---@param folder string
---@return integer
function cnas.file.free_space(folder) end

---The path of a new empty folder.
---@return string
function cnas.file.temporary() end

---@class cnas.file.download.options
---@field url string from where
---@field path string to where
---@field max_bytes integer a longer one is refused
---@field md5? string its checksum
---@field sha256? string the first digits of its checksum
---@field progress? function (bytes, total), which may return false to stop

---Fetches a file, goes on with one that was broken off, and checks its sum: it is whole and right when this returns.
---@param options cnas.file.download.options
function cnas.file.download(options) end

---Whether the file's SHA-256 begins with these digits; and why not.
---@param path string
---@param digits string
---@return boolean
---@return string?
function cnas.file.has_sha256(path, digits) end

---A file that is kept open for many appends.
---@param path string
---@return cnas.Log
function cnas.file.log(path) end

---Whole or not at all; on the disk when it returns, unless sync is false.
---@param text string
---@param sync? boolean
function Log:append(text, sync) end

---What was appended is on the disk when it returns.
function Log:sync() end

---Bytes so far.
---@return integer
function Log:size() end

---Closes it; raises when the last records are not on the disk.
function Log:close() end

---Held until closed; an error of code "busy" when another process holds it.
---@param folder string
---@return cnas.Lock
function cnas.file.lock(folder) end

---Who holds the lock on a folder now, like "process 4711 on box"; nil when nobody does. Takes nothing.
---@param folder string
---@return string?
function cnas.file.holder(folder) end

---Gives it back.
function Lock:close() end

---@class cnas.json.encode.options
---@field indent? boolean in lines (default false)

---Keys are sorted, numbers read back exactly. A table with the keys 1 … n is an array, an empty one an object unless `cnas.json.array` marked it.
---@param value any
---@param options? cnas.json.encode.options
---@return string
function cnas.json.encode(value, options) end

---The value; `source` is what error messages call the text.
---@param text string
---@param source? string
---@return any
function cnas.json.decode(text, source) end

---Marks a table to be written as an array even when empty.
---@param list? table
---@return table
function cnas.json.array(list) end

---Tensors by name, or a list { { name =, tensor = }, … }; metadata is strings by string.
---@param path string
---@param tensors table
---@param metadata? table
function cnas.safetensors.save(path, tensors, metadata) end

---Tensors by name, and the metadata; a damaged file is an error of code "data".
---@param path string
---@return table
---@return table
function cnas.safetensors.load(path) end

---From a PNG or JPEG file, whatever its name says.
---@param path string
---@return cnas.Tensor
function cnas.image.load(path) end

---@class cnas.image.transform.options
---@field size? integer height and width of the result (default 224)
---@field resize? integer what the shorter side becomes before the middle is taken (default 256)
---@field part? number[] { x, y, width, height } that is resized instead of the middle
---@field changes? table a list of { "brightness"|"contrast"|"saturation"|"hue", factor }, in their order
---@field exact? boolean decode a JPEG in full size also for a part that is four times too large (default false)

---A file's picture as loaders make it, u8 (size,size,3): the middle, or a part with changed colours, as PIL and torchvision.
---@param bytes string
---@param options? cnas.image.transform.options
---@return cnas.Tensor
function cnas.image.transform(bytes, options) end

---What a JPEG or PNG file is, all of it decoded: { format =, colour =, width =, height =, bits =, alpha =, progressive =, orientation =, warnings = }. An error of code "data", which begins with the name, when it cannot be decoded.
---@param bytes string
---@param name? string
---@return table
function cnas.image.inspect(bytes, name) end

---To a PNG file.
---@param path string
---@param image cnas.Tensor
function cnas.image.save(path, image) end

---From a file's content.
---@param bytes string
---@return cnas.Tensor
function cnas.image.decode(bytes) end

---A PNG file's content.
---@param image cnas.Tensor
---@return string
function cnas.image.encode(image) end

---@class cnas.draw.cell.options
---@field svg? string path of an SVG file
---@field png? string path of a PNG file
---@field title? string above the picture
---@field down? boolean from the inputs above to the output below, instead of from left to right (default false)

---Draws the "normal" or the "reduction" cell of a genotype; `cnas.draw.cell(triples, options)` a list of { "op", from, to }.
---@param genotype table|string
---@param cell string
---@param options? cnas.draw.cell.options
function cnas.draw.cell(genotype, cell, options) end

---@class cnas.draw.svg.options
---@field title? string above the picture
---@field down? boolean as for `cnas.draw.cell` (default false)

---The text of the SVG file.
---@param genotype table|string
---@param cell string
---@param options? cnas.draw.svg.options
---@return string
function cnas.draw.svg(genotype, cell, options) end

---The same as text for graphviz.
---@param genotype table|string
---@param cell string
---@param options? cnas.draw.dot.options
---@return string
function cnas.draw.dot(genotype, cell, options) end

---@class cnas.draw.raster.options
---@field svg string path of the SVG file
---@field png string path of the PNG file
---@field width number of the picture in its own units
---@field height number of the picture
---@field scale? number pixels to a unit (default 1)

---Any SVG file, which begins with an XML declaration, as a PNG file on white.
---@param options cnas.draw.raster.options
function cnas.draw.raster(options) end

---@class cnas.events.open.options
---@field resume_step? integer what TensorBoard has seen from this step on is void

---A new file of events in the folder.
---@param folder string
---@param options? cnas.events.open.options
---@return cnas.Events
function cnas.events.open(folder, options) end

---A point of a curve.
---@param tag string
---@param value number
---@param step integer
function Events:scalar(tag, value, step) end

---A picture: the content of a PNG file.
---@param tag string
---@param png string
---@param step integer
function Events:image(tag, png, step) end

---What was written is on the disk when it returns.
function Events:flush() end

---Of the file.
---@return string
function Events:path() end

---Closes it; raises when the last records could not be written.
function Events:close() end

---The bytes of the value's JSON text, u8 (N).
---@param value any
---@return cnas.Tensor
function cnas.packed.tensor(value) end

---The value of such a tensor.
---@param tensor cnas.Tensor
---@return any
function cnas.packed.value(tensor) end

---Dicts and lists as tables, None as `cnas.json.null`, tensors with their shapes; zip files and the older format. What is shared in the file is shared here.
---@param path string
---@return any
function cnas.pth.load(path) end

---@class cnas.onnx.export.options
---@field size? integer|integer[] of the images: one number, or { height, width } (default 32)
---@field channels? integer of the images (default 3)
---@field fold? boolean batch normalisations into convolutions (default false)
---@field check? boolean read it back, run it and compare (default true)
---@field tolerance? number of that, as part of what logits differ by from image to image (default 0.01)
---@field metadata? table texts by key
---@field graph? string its name (default "cnas")
---@field module? cnas.Module for names, where f is a function
---@field genotype? table for messages
---@field layers? integer for messages

---Writes a network, or a function of images (N,H,W,C), to a file, reads it back, runs it and compares; a file that does not pass is not there afterwards. Returns { nodes =, parameters =, bytes =, ir_version =, opset =, difference =, spread =, largest = }. The network is left in evaluation.
---@param path string
---@param f cnas.Module|function
---@param options? cnas.onnx.export.options
---@return table
function cnas.onnx.export(path, f, options) end

---The same as a table, not written.
---@param f cnas.Module|function
---@param options? cnas.onnx.model.options
---@return table
function cnas.onnx.model(f, options) end

---A copy of a model in which every batch normalisation right behind a convolution is part of its weights.
---@param model table
---@return table
function cnas.onnx.folded(model) end

---What a file says.
---@param path string
---@return table
function cnas.onnx.read(path) end

---Writes a model, as `cnas.onnx.model` makes it.
---@param path string
---@param model table
function cnas.onnx.write(path, model) end

---Runs a model that was read on images x (N,H,W,C). Reading a file is safe whatever is in it; a graph that is run may ask for any amount of memory, so run only files that you trust.
---@param model table
---@param x cnas.Tensor
---@return cnas.Tensor
function cnas.onnx.run(model, x) end

---@class cnas.onnx.compare.options
---@field seed? integer draws the images (default 1)
---@field batches? integer[] the sizes of the two batches

---How far a file is from f: the largest difference on random images; how far f's results for different images are from each other, at most; and the largest of them.
---@param path string
---@param f cnas.Module|function
---@param options? cnas.onnx.compare.options
---@return number
---@return number
---@return number
function cnas.onnx.compare(path, f, options) end

---Whether this build reads and writes ONNX files.
---@return boolean
function cnas.onnx_model.available() end

---What a file says.
---@param path string
---@return table
function cnas.onnx_model.load(path) end

---Writes such a table.
---@param path string
---@param model table
function cnas.onnx_model.save(path, model) end

---Joins the other processes, on the first call.
---@return cnas.World
function cnas.dist.world() end

---Returns when all have called it.
function World:barrier() end

---The tensor, now the sum over all processes, added in the order of the ranks.
---@param tensor cnas.Tensor
---@return cnas.Tensor
function World:allreduce(tensor) end

---The root's (rank 0): the tensor itself, overwritten, or a string.
---@param value cnas.Tensor|string
---@param root? integer
---@return cnas.Tensor|string
function World:broadcast(value, root) end

---All processes' strings in the order of the ranks, on every one.
---@param text string
---@return string[]
function World:gather(text) end

---The sums of the numbers over all processes, added in the order of the ranks.
---@param ... number
---@return number...
function World:sum(...) end

---Begins a sum that goes on while the caller computes; the tensor stays as it is until it is waited for.
---@param tensor cnas.Tensor
---@return cnas.Exchange
function World:start_sum(tensor) end

---This process's part, 0 … 1, of the batch that all work on; an optimizer that is shared weights its gradients by it. `cnas.Run:batches` says it for each batch.
---@param share number
function World:weigh(share) end

---Whether waiting would come back at once.
---@return boolean
function Exchange:done() end

---The tensor, now the sum.
---@return cnas.Tensor
function Exchange:wait() end

---The version.
---@type string
cnas.version = nil

---The folder with lua/ and recipes/; nil in another program.
---@type string?
cnas.home = nil

---What `cnas info` prints: this program, its revision and libraries, system, processor, memory, devices, settings and places, without the names of user and host.
---@return table
function cnas.machine() end

---What this program was built with: { lua, compiler, type, flags, sanitizers }.
---@return table
function cnas.built() end

---The libraries that this program is made of: { name, serves, version }, without a version when it was built without; and those of NVIDIA on this machine, which are no part of it and have `outside`, without a version when they are not there.
---@return table[]
function cnas.libraries() end

---Kinds of devices: { name, count, detail }, or `missing`: why there is none; of GPUs also `lacks`: operations that they have no kernels for.
---@return table[]
function cnas.devices() end

---What GPUs were asked for so far: { launches, waits, copies, rows }: launches of kernels, also by operation (`rows.conv2d`), how often the program waited for a GPU, and copies from and to it. nil without a GPU. The difference of two calls is what a step costs.
---@return table?
function cnas.gpu_work() end

---The device that a recipe's `--device` stands for: "cpu", "cuda", "cuda:1" …; or "auto", the default: a GPU that has a kernel for every operation, else the CPU. With it comes, where "auto" passed a GPU over, why. Of several processes each gets a GPU of its own by its rank, from 0. A device that was asked for and is not there is an error.
---@param wish? string
---@param rank? integer
---@return string
---@return string?
function cnas.device(wish, rank) end

---Sets how many threads kernels use, where given; returns how many. Results do not depend on it.
---@param n? integer
---@return integer
function cnas.threads(n) end

---Sets the instruction set of the CPU's kernels, where given: portable, avx2, avx512, avx512_bf16 or avx512_amx; returns it.
---@param name? string
---@return string
function cnas.isa(name) end

---Memory of tensors in bytes: { bytes_live, bytes_peak, bytes_cached, blocks_live, allocations, system_allocations }.
---@return table
function cnas.memory() end

---The peak of `cnas.memory` begins again at what is live.
function cnas.reset_peak() end

---How many tensors are alive.
---@return integer
function cnas.live() end

---For tests: the n-th allocation from now fails; nil: none.
---@param n? integer
function cnas.fail_allocation(n) end

---Seconds of a clock that only goes forward; differences count.
---@return number
function cnas.clock() end

---The user's wish to stop: "SIGINT", "SIGTERM", "SIGUSR1" or nil. Asking tells the program that the recipe will stop by itself.
---@return string?
function cnas.interrupted() end

---The wish was answered: go on.
function cnas.clear_interrupt() end

---The columns of the terminal on stderr, or nil when there is none.
---@return integer?
function cnas.terminal() end

---The interactive loop, as `cnas -i`, within a program, until Ctrl-D. Names are looked up in the table, then in the globals, and set in the table.
---@param names? table
function cnas.interact(names) end

---Prints values as the loop does and keeps the first as `_`.
---@param ... any
function cnas.repl.print(...) end

---What `f(...)` returns; prints how long it took.
---@param f function
---@param ... any
---@return any
function cnas.repl.time(f, ...) end

---The variables in a table of globals that were not there when the loop began, with type and size.
---@param names table
---@return string
function cnas.repl.who(names) end

---Obeys a line that begins with ? or :.
---@param line string
---@return string?
function cnas.repl.command(line) end

---What may stand at a place in a line of Lua: candidates for the word that ends there, sorted, and where it begins.
---@param text string
---@param position? integer
---@param names? table
---@return string[]
---@return integer
function cnas.repl.complete(text, position, names) end

---A loop begins, with these globals; its output has so many columns (those of the terminal). The metatable of `names` may have `library`, a list of names that are found there besides its fields; `commands`, functions by the word behind a colon, and `about`, lines for :help; `watch`, a table of functions before(text) and after(text, good). For the program.
---@param names table
---@param color boolean
---@param columns? integer
function cnas.repl.begin(names, color, columns) end

---The loop that runs; `other`, which this function gave before, is it from now on. For who begins a loop within another.
---@param other? table
---@return table
function cnas.repl.session(other) end

---The words that may stand behind a colon, sorted.
---@return string[]
function cnas.repl.commands() end

---A text is going to be run. For the program.
---@param text string
function cnas.repl.before(text) end

---Says what surprises everybody once about a text that is going to be run. For the program.
---@param text string
function cnas.repl.advise(text) end

---A text took so long, and ended without an error or not. For the program.
---@param seconds? number
---@param text? string
---@param good? boolean
function cnas.repl.ran(seconds, text, good) end

---The table of the loop's globals.
---@return table
function cnas.repl.environment() end

---Seconds in words: "12.3 ms".
---@param seconds number
---@return string
function cnas.repl.duration(seconds) end

---All pages, in order: { name =, title =, text = paragraphs, entries = }.
---@return table[]
function cnas.manual.pages() end

---The entry of a name as "cnas.zeros", "cnas.Tensor:sum" or "zeros".
---@param name string
---@return table?
function cnas.manual.entry(name) end

---The entry about a function or module of the library, or the type of an object.
---@param value any
---@return table?
function cnas.manual.of(value) end

---Entries whose name or text has the word.
---@param word string
---@return table[]
function cnas.manual.search(word) end

---Every public name of the library, sorted.
---@return string[]
function cnas.manual.public() end

---The value of a name, or nil.
---@param name string
---@param types? table
---@return any
function cnas.manual.resolve(name, types) end

---All types by name, as tables of their methods.
---@return table
function cnas.manual.types() end

---A page of the source as a table.
---@param text string
---@param file string
---@return table
function cnas.manual.parse(text, file) end

---The options given to `who`, completed: `known` lists required names, and optional ones with their default, `cnas.args.optional` for none. An unknown key is an error that suggests the nearest.
---@param who string
---@param given table
---@param known table
---@return table
function cnas.args.check(who, given, known) end

---Raises an error with a code: "usage", "data", "io", "busy", "not-finite" or "interrupted". The program's exit status follows from it.
---@param code string
---@param format string
---@param ... any
function cnas.args.fail(code, format, ...) end

---The same with fields of your own.
---@param code string
---@param fields table
---@param message string
function cnas.args.fail_with(code, fields, message) end

---The entry that a name was most likely meant to be.
---@param name string
---@param list string[]
---@return string?
function cnas.args.nearest(name, list) end

---" (did you mean 'stride'?)", or nothing.
---@param name string
---@param list string[]
---@return string
function cnas.args.suggestion(name, list) end

---The keys of a table, sorted.
---@param t table
---@return table
function cnas.args.keys(t) end

return cnas
