// Opens results in OHIF, in a real browser, as a reader would, and says what the page shows.
// The order comes in as JSON on stdin, the answer goes out as JSON on stdout:
//
//   { viewer, browser, folder, patience_ms, deadline_ms,
//     looks: [{ name, study, series, description, kind, segment, line, points }] }
//   { name: what is shown, or { error } }
//
// kind is one of KINDS below; points are of the patient (LPS, mm) and come back as the pixels of
// the screenshot on which the viewport puts them.
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

import { chromium } from 'playwright-core';

// WebGL 2 without a graphics card, and nothing that leaves this machine.
const FLAGS = [
  '--no-sandbox',
  '--use-gl=angle',
  '--use-angle=swiftshader',
  '--enable-unsafe-swiftshader',
  '--ignore-gpu-blocklist',
  '--disable-quic',
  '--no-first-run',
  '--disable-background-networking',
  '--disable-component-update',
  '--disable-sync',
  '--disable-default-apps',
  '--disable-extensions',
  '--disable-dev-shm-usage',
  '--host-resolver-rules=MAP * ~NOTFOUND , EXCLUDE 127.0.0.1',
];
const PANE = '[data-cy="viewport-pane"]';

// ---- what a reader does ----

async function open(page, order, look) {
  await page.addInitScript(() => {
    localStorage.setItem('shownTours', JSON.stringify(['basicViewerTour']));
  });
  await page.goto(`${order.viewer}/viewer?StudyInstanceUIDs=${look.study}`);
  await page.waitForSelector(`${PANE} canvas`);
  await page.waitForFunction(
    (series) =>
      window.services.displaySetService
        .getActiveDisplaySets()
        .some((set) => set.SeriesInstanceUID === series),
    look.series,
  );
  await page.waitForTimeout(500);
  await page.getByText(look.description, { exact: true }).first().dblclick();
}

async function agree(page) {
  const yes = page.getByRole('button', { name: 'Yes', exact: true });
  await yes.first().waitFor({ timeout: 15000 });
  const prompt = await page.evaluate(() => document.body.innerText.match(/Do you want[^\n]*/)?.[0]);
  await yes.first().click();
  return prompt ?? null;
}

async function nudge(page) {
  // Graphics that cannot be edited are painted at the first interaction only.
  const box = await page.locator(PANE).first().boundingBox();
  await page.mouse.move(box.x + box.width / 2, box.y + box.height / 2);
  await page.mouse.wheel(0, 120);
  await page.waitForTimeout(400);
  await page.mouse.wheel(0, -120);
  await page.waitForTimeout(600);
}

const KINDS = {
  async report(page) {
    await page.waitForTimeout(1500);
    await nudge(page);
    await page.waitForFunction(
      (pane) => document.querySelectorAll(`${pane} svg text`).length > 0,
      PANE,
    );
    return {};
  },

  async editable(page) {
    const prompt = await agree(page);
    await page.locator('[data-cy="trackedMeasurements-btn"]').first().click();
    await page.waitForFunction(
      () => window.services.measurementService.getMeasurements().length > 0,
    );
    await nudge(page);
    return { prompt };
  },

  async text(page, look) {
    const line = page.locator(PANE).getByText(look.line, { exact: true }).first();
    await line.waitFor();
    const [box, pane] = [await line.boundingBox(), await page.locator(PANE).first().boundingBox()];
    return { unscrolled: box.y + box.height <= pane.y + pane.height };
  },

  async image(page, look) {
    await page.waitForFunction(
      ([pane, description]) => document.querySelector(pane)?.innerText.includes(description),
      [PANE, look.description],
    );
    await page.waitForTimeout(1500);
    return {};
  },

  // The map comes into a volume viewport, over the PET that it was made on; the slice through its
  // greatest number is brought into view.
  async map(page) {
    const overlaid = () => {
      const { viewport } = window.cornerstone.getEnabledElements()[0] ?? {};
      const ids = (viewport?.getActors?.() ?? []).map((actor) => actor.referencedId);
      return ids.length === 2 && ids.every((id) => window.cornerstone.cache.getVolume(id));
    };
    await page.waitForFunction(overlaid);
    await page.waitForTimeout(1500);
    const greatest = await page.evaluate(async () => {
      const { cornerstone } = window;
      const { viewport } = cornerstone.getEnabledElements()[0];
      const volume = cornerstone.cache.getVolume(viewport.getActors()[1].referencedId);
      const data = volume.voxelManager.getCompleteScalarDataArray();
      const best = data.reduce((at, value, index) => (value > data[at] ? index : at), 0);
      const [columns, rows, slices] = volume.dimensions;
      const slice = Math.floor(best / (columns * rows));
      await cornerstone.utilities.jumpToSlice(viewport.element, { imageIndex: slices - 1 - slice });
      const index = [best % columns, Math.floor(best / columns) % rows, slice];
      return { dimensions: volume.dimensions, at: Array.from(volume.imageData.indexToWorld(index)) };
    });
    await page.waitForTimeout(1500);
    return { greatest };
  },

  async segmentation(page, look) {
    const prompt = await agree(page);
    await page.waitForFunction(
      () => window.services.segmentationService.getSegmentations().length > 0,
    );
    await page.locator('[data-cy="panelSegmentation-btn"]').first().click();
    // A click on a segment brings its middle into view.
    await page.getByText(look.segment, { exact: true }).first().click();
    await page.waitForTimeout(2000);
    return { prompt };
  },
};

// ---- what the page then shows (runs in the page) ----

function shown({ pane, points }) {
  const { cornerstone, services } = window;
  const viewports = services.cornerstoneViewportService;
  const active = services.viewportGridService.getActiveViewportId();
  const element = document.querySelector(pane);
  const viewport = viewports.getCornerstoneViewport(active);
  const texts = [...element.querySelectorAll('svg text')];
  const answer = {
    text: element.innerText,
    body: document.body.innerText,
    labels: texts.map((text) => [...text.children].map((line) => line.textContent)),
  };
  if (!viewport?.worldToCanvas) return answer;
  const instance = cornerstone.metaData.get('instance', viewport.getCurrentImageId());
  const corner = viewport.canvas.getBoundingClientRect();
  const graphics = [...element.querySelectorAll('svg.svg-layer path, svg.svg-layer polyline')];
  return {
    ...answer,
    image: instance?.SOPInstanceUID ?? null,
    frame: [corner.left, corner.top, corner.right, corner.bottom],
    points: points.map((point) => {
      const [x, y] = viewport.worldToCanvas(point);
      return [x + corner.left, y + corner.top];
    }),
    graphics: graphics
      .map((graphic) => graphic.getBoundingClientRect())
      .filter((box) => box.width > 0 && box.height > 0)
      .map((box) => [box.left, box.top, box.right, box.bottom]),
  };
}

function measured() {
  return window.services.measurementService.getMeasurements().map((one) => ({
    type: one.toolName,
    image: one.SOPInstanceUID,
    text: [...(one.displayText?.primary ?? []), ...(one.displayText?.secondary ?? [])],
  }));
}

function segmented() {
  const { cache } = window.cornerstone;
  return window.services.segmentationService.getSegmentations().map((segmentation) => {
    const voxels = {};
    for (const imageId of segmentation.representationData.Labelmap.imageIds) {
      const image = cache.getImage(imageId);
      const source = window.cornerstone.metaData.get('instance', image.referencedImageId);
      for (const label of image.voxelManager.getScalarData()) {
        if (label === 0) continue;
        voxels[label] ??= {};
        voxels[label][source.SOPInstanceUID] = (voxels[label][source.SOPInstanceUID] ?? 0) + 1;
      }
    }
    const segments = Object.values(segmentation.segments).filter(Boolean);
    return { labels: segments.map((segment) => segment.label), voxels };
  });
}

// ---- one look after the other ----

async function take(context, order, look) {
  const page = await context.newPage();
  page.setDefaultTimeout(order.patience_ms);
  const faults = [];
  page.on('pageerror', (error) => faults.push(String(error?.stack ?? error).slice(0, 500)));
  const started = Date.now();
  try {
    await open(page, order, look);
    const done = await KINDS[look.kind](page, look);
    const seen = await page.evaluate(shown, { pane: PANE, points: look.points ?? [] });
    const state = {
      measurements: await page.evaluate(measured),
      segmentations: await page.evaluate(segmented),
    };
    return { ...done, ...seen, ...state, faults };
  } catch (error) {
    return { error: String(error?.stack ?? error), faults };
  } finally {
    await page.screenshot({ path: join(order.folder, `${look.name}.png`) }).catch(() => {});
    await page.close();
    console.error(`${look.name}: ${((Date.now() - started) / 1000).toFixed(1)} s`);
  }
}

const order = JSON.parse(readFileSync(0, 'utf-8'));
const end = Date.now() + order.deadline_ms;
const profile = mkdtempSync(join(tmpdir(), 'petct-node-viewer-'));
const answer = {};
try {
  const context = await chromium.launchPersistentContext(profile, {
    executablePath: order.browser,
    headless: true,
    args: FLAGS,
    viewport: { width: 1600, height: 950 },
    timeout: order.patience_ms,
  });
  for (const look of order.looks) {
    const late = Date.now() > end;
    answer[look.name] = late ? { error: 'out of time' } : await take(context, order, look);
  }
  await context.close();
} finally {
  rmSync(profile, { recursive: true, force: true });
}
process.stdout.write(JSON.stringify(answer), () => process.exit(0));
