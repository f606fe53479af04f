"""Scripts that know nothing of this service, as people bring them: written for other services, run here without a change."""

# Plain PyTorch DDP, in SageMaker's script mode: argparse with SM_* defaults, torchrun's variables, a model folder.
DDP_TRAIN = """
import argparse, json, os
import torch, torch.distributed as dist
from torch.nn.parallel import DistributedDataParallel
from network import build

parser = argparse.ArgumentParser()
parser.add_argument("--lr", type=float, default=0.1)
parser.add_argument("--hidden-size", type=int, default=4)
parser.add_argument("-e", type=int, default=1)
parser.add_argument("--model-dir", default=os.environ["SM_MODEL_DIR"])
parser.add_argument("--output-data-dir", default=os.environ["SM_OUTPUT_DATA_DIR"])
parser.add_argument("--train", default=os.environ["SM_CHANNEL_TRAINING"])
args = parser.parse_args()
dist.init_process_group("gloo")
rank, size = dist.get_rank(), dist.get_world_size()
assert os.environ["SM_NUM_GPUS"] == "0" and json.loads(os.environ["SM_HOSTS"]) == ["algo-1"]
assert json.load(open("/".join([os.environ["SM_INPUT_CONFIG_DIR"], "hyperparameters.json"])))["lr"] == "0.01"
rows = open(os.path.join(args.train, "rows.csv")).read().split()
torch.manual_seed(0)
model = DistributedDataParallel(build(args.hidden_size))
optimizer = torch.optim.SGD(model.parameters(), lr=args.lr)
for step in range(3 * args.e):
    loss = model(torch.full((2, 3), float(rows[rank]))).square().mean()
    optimizer.zero_grad(); loss.backward(); optimizer.step()
    if rank == 0:
        print(f"step: {step} training loss: {loss.item():.5f};", flush=True)
total = torch.tensor([float(rank + 1)]); dist.all_reduce(total)
if rank == 0:
    torch.save(model.module.state_dict(), os.path.join(args.model_dir, "model.pth"))
    json.dump({"size": size, "total": total.item(), "lr": args.lr, "hidden": args.hidden_size, "e": args.e, "env": dict(os.environ)},
              open(os.path.join(args.output_data_dir, "report.json"), "w"))
    open("notes.txt", "w").write("beside the code")
dist.barrier(); dist.destroy_process_group()
"""
NETWORK = """
import torch
def build(hidden):
    return torch.nn.Sequential(torch.nn.Linear(3, hidden), torch.nn.Linear(hidden, 1))
"""
# Saves through trainyard.run and waits in the middle of its first life, so that somebody can kill it there.
RESUMING = """
import json, os, time
from trainyard import run
start = 0
if run.resume_from():
    start = json.load(open(run.resume_from() / "state.json"))["step"]
for step in range(start + 1, 7):
    run.log(step, loss=1.0 / step)
    if os.environ["RANK"] == "0" and step in (2, 4):
        with open("state.json", "w") as file:
            json.dump({"step": step}, file)
        run.save_checkpoint("state.json", step=step)
    while step == 5 and start == 0:
        time.sleep(0.05)
(run.output_dir() / f"report-{os.environ['RANK']}.json").write_text(json.dumps({"start": start, "rank": os.environ.get("RANK")}))
"""
# Knows only a folder that it writes to; an earlier life's files lie there again.
FOLDER_RESUMING = """
import os, time
folder = os.environ["AIP_CHECKPOINT_DIR"]
before = sorted(os.listdir(folder))
if not before:
    open(os.path.join(folder, "epoch-1.bin"), "w").write("weights")
    while True:
        time.sleep(0.05)
open(os.path.join(os.environ["AIP_MODEL_DIR"], "found.txt"), "w").write(" ".join(before))
"""
FAILING = """
import os, sys, time
if os.environ["RANK"] == "1":
    print("about to leave", file=sys.stderr, flush=True)
    raise SystemExit(3)
time.sleep(600)
"""
RAISING = """
import os
def helper():
    raise ValueError("the rows do not add up")
if os.environ["RANK"] == "0":
    open(os.path.join(os.environ["SM_OUTPUT_DIR"], "failure"), "w").write("bad rows in shard 7")
    helper()
"""
ACCELERATED = """
import json, os, torch
from accelerate import Accelerator
accelerator = Accelerator()
seen = accelerator.gather(torch.tensor([accelerator.process_index]))
if accelerator.is_main_process:
    json.dump({"num": accelerator.num_processes, "seen": seen.tolist()}, open("report.json", "w"))
"""
ALONE = """
import json, os, sys
json.dump({"args": sys.argv[1:], "names": sorted(os.environ)}, open("report.json", "w"))
"""
NEEDS_PACKAGE = """
import json, made_up_package, torch
json.dump({"answer": made_up_package.ANSWER, "torch": torch.__version__}, open("report.json", "w"))
"""
USES_SECRET = """
import os, sys
from trainyard import run
value = run.secret("API_TOKEN")
assert value not in os.environ.values()
print("the token is", value, flush=True)
raise RuntimeError("could not log in with " + value)
"""
