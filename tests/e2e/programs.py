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
# The same with checkpoints in a folder that it is told, of which the service is to take care. Waits in its first life.
DDP_WITH_CHECKPOINTS = """
import argparse, os, time
import torch, torch.distributed as dist
from torch.nn.parallel import DistributedDataParallel

parser = argparse.ArgumentParser()
parser.add_argument("--checkpoint-dir", default="/opt/ml/checkpoints")
parser.add_argument("--model-dir", default=os.environ["SM_MODEL_DIR"])
args = parser.parse_args()
dist.init_process_group("gloo")
torch.manual_seed(0)
model = DistributedDataParallel(torch.nn.Linear(3, 1))
optimizer = torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9)
newest, first = os.path.join(args.checkpoint_dir, "last.pt"), 0
if os.path.exists(newest):
    state = torch.load(newest)
    model.load_state_dict(state["model"]); optimizer.load_state_dict(state["optimizer"]); first = state["step"] + 1
for step in range(first, 6):
    rows = torch.full((4, 3), float(step + 1) / 6) * (dist.get_rank() + 1)
    loss = (model(rows) - 1).square().mean()
    optimizer.zero_grad(); loss.backward(); optimizer.step()
    if dist.get_rank() == 0:
        print(f"step: {step} loss: {loss.item():.6f}", flush=True)
        torch.save({"model": model.state_dict(), "optimizer": optimizer.state_dict(), "step": step}, newest + ".part")
        os.replace(newest + ".part", newest)
    while first == 0 and step == 3 and not os.environ.get("NEVER_WAITS"):
        time.sleep(0.05)
if dist.get_rank() == 0:
    torch.save(model.module.state_dict(), os.path.join(args.model_dir, "model.pth"))
    open(os.path.join(args.model_dir, "first.txt"), "w").write(str(first))
dist.barrier(); dist.destroy_process_group()
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
# Tells MLflow what it does, keeps checkpoints in a folder, and waits in its first life at the end of the third epoch.
MLFLOW = """
import os, time, mlflow
folder = os.environ["AIP_CHECKPOINT_DIR"]
done = len(os.listdir(folder))
with mlflow.start_run():
    mlflow.log_params({"lr": 0.1, "depth": 3})
    mlflow.set_tag("team", "vision")
    for epoch in range(done, 6):
        mlflow.log_metric("loss", 1.0 / (epoch + 1), step=epoch)
        open(os.path.join(folder, f"epoch-{epoch}.bin"), "w").write("weights")
        while done == 0 and epoch == 2:
            time.sleep(0.05)
    mlflow.log_text(f"went on at {done}", "notes/summary.txt")
"""
# transformers' Trainer as its documentation writes it: everything in its output folder, from which it goes on by itself.
TRAINER = """
import os, sys, time, torch
from transformers import GPT2Config, GPT2LMHeadModel, Trainer, TrainerCallback, TrainingArguments
from transformers.trainer_utils import get_last_checkpoint

class Waits(TrainerCallback):
    def on_step_end(self, args, state, control, **kwargs):
        while last is None and state.global_step == 5:
            time.sleep(0.05)

folder = os.environ["AIP_CHECKPOINT_DIR"]
last = get_last_checkpoint(folder)
torch.manual_seed(0)
model = GPT2LMHeadModel(GPT2Config(n_layer=1, n_head=2, n_embd=16, vocab_size=50, n_positions=16, bos_token_id=0, eos_token_id=0))
rows = [{"input_ids": row, "labels": row} for row in torch.randint(50, (64, 16))]
often = {"save_steps": 2, "logging_steps": 1}
arguments = TrainingArguments(folder, max_steps=8, per_device_train_batch_size=4, report_to="none", use_cpu=True, **often)
trainer = Trainer(model=model, args=arguments, train_dataset=rows, callbacks=[Waits()])
trainer.train(resume_from_checkpoint=last)
if trainer.is_world_process_zero():
    trainer.save_model(os.environ["SM_MODEL_DIR"])
    open(os.path.join(os.environ["SM_OUTPUT_DATA_DIR"], "last.txt"), "w").write(os.path.basename(str(last)))
"""
# Saves nothing before it is asked to stop, which its first life waits for; goes on behind the step at which it was.
STOPPING = """
import json, os, time
from trainyard import run
start = 0
if run.resume_from():
    start = json.load(open(run.resume_from() / "state.json"))["step"]
for step in range(start + 1, 7):
    run.log(step, loss=1.0 / step)
    while start == 0 and step == 4 and not run.stop_requested():
        time.sleep(0.05)
    if run.stop_requested():
        if os.environ["RANK"] == "0":
            with open("state.json", "w") as file:
                json.dump({"step": step}, file)
            run.save_checkpoint("state.json", step=step)
        break
else:
    (run.output_dir() / f"report-{os.environ['RANK']}.json").write_text(json.dumps({"start": start}))
"""
# Hears SIGTERM as programs do everywhere, and leaves its state in the folder at the last moment.
LEAVING = """
import os, signal, sys, time
folder = os.environ["AIP_CHECKPOINT_DIR"]
before = sorted(os.listdir(folder))
def leave(*_):
    open(os.path.join(folder, "last.bin"), "w").write("weights")
    sys.exit(0)
signal.signal(signal.SIGTERM, leave)
print("ready: 1", flush=True)
while not before:
    time.sleep(0.05)
open(os.path.join(os.environ["AIP_MODEL_DIR"], "found.txt"), "w").write(" ".join(before))
"""
